using LongCtx.Engine.Templates;

namespace LongCtx.Engine.Tests.Templates;

public class HostileTemplateTests
{
    static readonly ChatMessage[] Chat = [new("user", "Hi")];

    static string Repeat(string text, int count) => string.Concat(Enumerable.Repeat(text, count));

    public static TheoryData<string, string> Templates => new()
    {
        { "endless recursion", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}" },
        { "mutual recursion", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}" },
        { "nested loops", Repeat("{% for i in range(1000) %}", 6) + "x" + Repeat("{% endfor %}", 6) },
        { "huge range", "{% for i in range(10 ** 15) %}{% endfor %}" },
        { "huge range downwards", "{{ range(9223372036854775807, -9223372036854775807, -1) }}" },
        { "doubling string", "{% set ns = namespace(s='x') %}{% for i in range(200) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}" },
        { "many long strings", "{% set ns = namespace(l=[], s='x' * 1000000) %}{% for i in range(100000) %}{% set ns.l = ns.l + [ns.s ~ i] %}{% endfor %}" },
        { "doubling list", "{% set ns = namespace(s=[1]) %}{% for i in range(200) %}{% set ns.s = ns.s + ns.s %}{% endfor %}" },
        { "shared lists printed", "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}" },
        { "shared lists compared", "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}" },
        { "shared lists as JSON", "{% set ns = namespace(s={}) %}{% for i in range(60) %}{% set ns.s = {'a': ns.s, 'b': ns.s} %}{% endfor %}{{ ns.s | tojson }}" },
        { "deep list printed", "{% set ns = namespace(s=[1]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}" },
        { "repeated string", "{{ 'x' * 10 ** 12 }}" },
        { "repeated list", "{{ [1] * 10 ** 12 }}" },
        { "replace that grows", "{{ ('x' * 100000) | replace('x', 'y' * 100000) }}" },
        { "indent that grows", "{{ ('\\n' * 1000000) | indent(1000, true, true) }}" },
        { "join that grows", "{{ range(100000) | join('x' * 100000) }}" },
        { "deep parentheses", "{{ " + Repeat("(", 100_000) + "1" + Repeat(")", 100_000) + " }}" },
        { "deep lists", "{{ " + Repeat("[", 100_000) },
        { "deep not", "{{ " + Repeat("not ", 100_000) + "1 }}" },
        { "deep minus", "{{ " + Repeat("-", 100_000) + "1 }}" },
        { "deep blocks", Repeat("{% if 1 %}", 100_000) },
        { "deep macros", Repeat("{% macro m() %}", 100_000) },
        { "long chain", "{{ 1" + Repeat(" + 1", 100_000) + " }}" },
        { "long members", "{{ a" + Repeat(".a", 100_000) + " }}" },
        { "long filters", "{{ 1" + Repeat(" | string", 100_000) + " }}" },
        { "long conditions", "{{ 1" + Repeat(" if 1 else 1", 100_000) + " }}" },
        { "overflow", "{{ 9223372036854775807 + 1 }}" },
        { "overflow of a power", "{{ 10 ** 100 }}" },
        { "smallest divided", "{{ (-9223372036854775807 - 1) // -1 }}" },
        { "number too large", "{{ 99999999999999999999 }}" },
        { "unclosed comment", "{# " + Repeat("x{#", 100_000) },
        { "unclosed raw", "{% raw %}" + Repeat("{% raw %}", 10_000) },
        { "lone end", "{% endfor %}" },
        { "break outside", "{% break %}" },
        { "macro breaks caller's loop", "{% for i in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}" },
        { "include", "{% include 'x' %}" },
        { "import", "{% from 'os' import path %}" },
        { "python internals", "{{ ''.__class__.__mro__[1] }}" },
        { "bad escape", "{{ '\\U99999999' }}" },
        { "too long", new string('x', (1 << 20) + 1) },
        { "namespace into itself", "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns.me.me.me }}" },
        { "slice of nothing", "{{ 'abc'[::0] }}" },
        { "assigning a literal", "{% set true = 1 %}" },
        { "bad time", "{{ strftime_now('%Q') }}" },
        { "extreme round", "{{ 1.5 | round(99) }}" },
        { "extreme indent", "{{ [1] | tojson(indent=100000) }}" },
    };

    [Theory, MemberData(nameof(Templates))]
    public void Render_HostileTemplate_EndsWithTypedErrorInTime(string name, string source)
    {
        Assert.NotEmpty(name);
        System.Diagnostics.Stopwatch watch = System.Diagnostics.Stopwatch.StartNew();
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(source).Render(Chat, true, "", ""));
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(20), $"took {watch.Elapsed}");
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 4L << 30, "allocated more than 4 GiB in all");
    }

    [Fact]
    public void Parse_MutatedTemplates_NeverThrowsAnythingElse()
    {
        string[] sources = [.. System.Text.Json.JsonDocument.Parse(File.ReadAllBytes(Repository.Golden("jinja.json"))).RootElement
            .GetProperty("cases").EnumerateArray().Select(c => c.GetProperty("template").GetString()!)];
        const string Alphabet = "{}%#-+|.,:()[]'\"\\ \nab01=~*";
        for (int seed = 0; seed < 20_000; seed++)
        {
            Random random = new(seed);
            System.Text.StringBuilder source = new(sources[random.Next(sources.Length)]);
            for (int n = random.Next(1, 5); n > 0 && source.Length > 0; n--)
            {
                int at = random.Next(source.Length);
                switch (random.Next(4))
                {
                    case 0: source.Remove(at, random.Next(1, Math.Min(8, source.Length - at) + 1)); break;
                    case 1: source.Insert(at, Alphabet[random.Next(Alphabet.Length)]); break;
                    case 2: source[at] = Alphabet[random.Next(Alphabet.Length)]; break;
                    default: source.Insert(at, source.ToString(at, random.Next(source.Length - at))); break;
                }
            }
            try
            {
                ChatTemplate.Parse(source.ToString()).Render(Chat, true, "<s>", "</s>", new Dictionary<string, object?> { ["items"] = new[] { 3, 1 }, ["s"] = "text", ["n"] = 7 });
            }
            catch (ChatTemplateException)
            {
                // The one exception that a template may cause.
            }
            catch (Exception e)
            {
                Assert.Fail($"Seed {seed}: {e.GetType().Name} {e.Message} for: {source}");
            }
        }
    }

    [Fact]
    public void Render_ErrorInside_NamesTheLine()
    {
        Assert.Equal(3, Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse("a\nb\n{{ x.y }}\nc").Render(Chat, true, "", "")).Line);
        Assert.Equal(2, Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse("a\n{% unknown %}")).Line);
        ChatTemplateException raised = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse("{% if true %}\n{{ raise_exception('no') }}{% endif %}").Render(Chat, true, "", ""));
        Assert.Equal((2, true, "no"), (raised.Line, raised.Raised, raised.Problem));
    }
}
