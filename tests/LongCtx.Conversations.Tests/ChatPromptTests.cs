using System.Text.Json;
using LongCtx.Conversations.Local;
using LongCtx.Engine.Templates;
using LongCtx.Engine.Tests;

namespace LongCtx.Conversations.Tests;

/// <summary>On published templates: what the parts of a rendered chat must be is seen by comparing whole renderings as strings.</summary>
public class ChatPromptTests
{
    const string SmolLM2 =
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    static readonly Dictionary<string, string> Templates = ReadTemplates();

    public static TheoryData<string> Stable => ["chatml", "llama3-style", "inst-style", "smollm2"];

    static Dictionary<string, string> ReadTemplates()
    {
        using var golden = JsonDocument.Parse(File.ReadAllText(Repository.Golden("chat_templates.json")));
        var templates = golden.RootElement.EnumerateArray().DistinctBy(c => c.GetProperty("name").GetString())
            .ToDictionary(c => c.GetProperty("name").GetString()!, c => c.GetProperty("template").GetString()!);
        templates["smollm2"] = SmolLM2;
        return templates;
    }

    static ChatFormat Format(string name)
    {
        var template = ChatTemplate.Parse(Templates[name]);
        return new((messages, opens) =>
        {
            try
            {
                return template.Render(messages, opens, "<s>", "</s>");
            }
            catch (ChatTemplateException e)
            {
                throw new LongCtxException(ErrorCode.InvalidRequest, e.Message);
            }
        }, LetterFormat.Encode, "<s>", IsStable: true);
    }

    static ChatMessage[] Chat(Random random, int turns, bool system)
    {
        var messages = new List<ChatMessage>();
        if (system) messages.Add(new("system", Text(random)));
        for (int i = 0; i < turns; i++)
        {
            messages.Add(new("user", Text(random)));
            messages.Add(new("assistant", Text(random)));
        }
        return [.. messages, new("user", Text(random))];
    }

    static string Text(Random random) => string.Concat(Enumerable.Range(0, random.Next(1, 12)).Select(_ => "ab \né"[random.Next(5)])) + "c";

    [Theory]
    [MemberData(nameof(Stable))]
    public void AfterReply_RandomChats_IsTheDifferenceOfTheWholeRenderings(string template)
    {
        int seed = Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var random = new Random(seed);
        var format = Format(template);
        for (int i = 0; i < 50; i++)
        {
            var messages = Chat(random, random.Next(1, 4), random.Next(2) == 0);
            int reply = Array.FindLastIndex(messages, m => m.Role == "assistant");
            string asked = format.Render(messages[..reply], true), whole = format.Render(messages, true);
            Assert.StartsWith(asked, whole, StringComparison.Ordinal);
            string answered = whole[asked.Length..].TrimStart();
            string content = messages[reply].Content.TrimStart();
            if (!answered.StartsWith(content, StringComparison.Ordinal)) content = content.Trim();
            Assert.StartsWith(content, answered, StringComparison.Ordinal);

            var tail = new ChatPrompt(format, messages).AfterReply(reply + 1, "rest");
            Assert.NotNull(tail);
            Assert.Equal("rest" + answered[content.Length..], LetterFormat.Decode(tail.Ids));
        }
    }

    [Theory]
    [MemberData(nameof(Stable))]
    public void From_RandomChats_CutsWhereTheRenderingOfTheBeginningEnds(string template)
    {
        int seed = Random.Shared.Next();
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var random = new Random(seed);
        var format = Format(template);
        for (int i = 0; i < 40; i++)
        {
            // Long chats go another way than short ones: marks instead of renderings.
            var messages = Chat(random, random.Next(0, 12), random.Next(2) == 0);
            var prompt = new ChatPrompt(format, messages);
            string whole = format.Render(messages, true);
            int[] ends = [.. Enumerable.Range(1, messages.Length).Select(n => format.Render(messages[..n], false).Length)];
            var tail = prompt.From(0)!;
            Assert.Equal(whole, LetterFormat.Decode(tail.Ids));
            Assert.Equal(ends.Select((chars, n) => (n + 1, whole[..chars])), tail.MessageEnds.Select(e => (e.Messages, LetterFormat.Decode(tail.Ids[..e.Tokens]))));
            for (int n = 1; n <= messages.Length; n++)
            {
                var rest = prompt.From(n)!;
                Assert.Equal(whole[ends[n - 1]..], LetterFormat.Decode(rest.Ids));
                string[] turns = [.. ends[(n - 1)..].Distinct().Select(chars => whole[chars..]).Where(t => t.Length > 0)];
                Assert.Equal(turns, rest.TurnStarts.Select(t => LetterFormat.Decode(rest.Ids[t..])));
            }
        }
    }

    [Theory]
    [InlineData("filters")] // counts the messages and changes their case
    [InlineData("namespace-and-tools")] // numbers a reply only once it is there
    public void AfterReply_TemplateShowsTheReplyElsewhere_IsNull(string template)
    {
        var messages = Chat(new Random(3), 2, system: true);
        Assert.Null(new ChatPrompt(Format(template), messages).AfterReply(5, ""));
        Assert.Equal(Format(template).Render(messages, true), LetterFormat.Decode(new ChatPrompt(Format(template), messages).From(0)!.Ids));
    }

    [Theory]
    [InlineData("chatml", null, "")]
    [InlineData("chatml", "Be brief.", "<|im_start|>system\nBe brief.<|im_end|>\n")]
    [InlineData("smollm2", null, "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n")]
    [InlineData("smollm2", "Be brief.", "<|im_start|>system\nBe brief.<|im_end|>\n")]
    [InlineData("llama3-style", null, "<s>")]
    [InlineData("llama3-style", " Be brief. ", "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>")]
    [InlineData("inst-style", null, "<s>")]
    [InlineData("inst-style", "Be brief.", "<s>[INST] Be brief.\n\n")]
    public void SystemChars_PublishedTemplates_AreWhatStandsBeforeTheFirstOtherTurn(string template, string? system, string expected)
    {
        ChatMessage[] first = system is null ? [] : [new("system", system)];
        foreach (int turns in new[] { 0, 2 })
        {
            var prompt = new ChatPrompt(Format(template), [.. first, .. Chat(new Random(7), turns, system: false)]);
            Assert.Equal(expected.TrimEnd(), prompt.Text[..prompt.SystemChars].TrimEnd());
            Assert.Equal(LetterFormat.Encode(prompt.Text[..prompt.SystemChars]).Ids.Length, prompt.SystemTokens);
        }
    }

    [Fact]
    public void Constructor_TemplateRefusesTheMessages_SaysWhy()
    {
        var refusal = Assert.Throws<LongCtxException>(() => new ChatPrompt(Format("inst-style"), [new("assistant", "I start"), new("user", "no")]));
        Assert.Equal(ErrorCode.InvalidRequest, refusal.Code);
        Assert.Contains("Roles must alternate", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void From_ChatOfThousandsOfMessages_RendersAFewTimesOnly()
    {
        int renderings = 0;
        var format = Format("smollm2");
        var counting = format with { Render = (messages, opens) => { renderings++; return format.Render(messages, opens); } };
        var messages = Chat(new Random(1), 1000, system: true);
        Assert.Equal(messages.Length, new ChatPrompt(counting, messages).From(0)!.MessageEnds.Length);
        Assert.InRange(renderings, 1, 12);
    }

    [Fact]
    public void From_MessageContainsTheMark_IsNotMistakenForIt()
    {
        var format = Format("chatml");
        ChatMessage[] messages = [new("user", "what is zqmark0qz?"), new("assistant", "ZQMARK0QZ and zqmark1qz"), new("user", "zqmark0qz0.")];
        Assert.Equal("<|im_end|>\n<|im_start|>user\nzqmark0qz0.<|im_end|>\n<|im_start|>assistant\n",
            LetterFormat.Decode(new ChatPrompt(format, messages).AfterReply(2, "")!.Ids));
    }

    [Fact]
    public void FirstTokenFrom_InsideAToken_IsTheNextAndNotExact()
    {
        var text = new EncodedText([7, 8, 9, 9], [0, 3, 5, 5], 6); // the last two share one character
        Assert.Equal([(0, true), (1, false), (1, true), (2, true), (4, true)], new[] { 0, 1, 3, 5, 6 }.Select(text.FirstTokenFrom));
    }
}
