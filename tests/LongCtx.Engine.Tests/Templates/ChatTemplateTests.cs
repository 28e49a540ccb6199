using LongCtx.Engine.Templates;

namespace LongCtx.Engine.Tests.Templates;

public class ChatTemplateTests
{
    sealed class FixedClock(DateTimeOffset now) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => now;

        public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;
    }

    const string ChatMl = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

    [Fact]
    public void Render_StrftimeNow_UsesTheInjectedClock()
    {
        FixedClock clock = new(new DateTimeOffset(2024, 7, 4, 9, 5, 3, TimeSpan.Zero));
        string text = ChatTemplate.Parse("{{ strftime_now('%d %b %Y|%B %-d|%A %a|%H:%M:%S|%I %p|%j|%y%m%%') }}", clock).Render([], false, "", "");
        Assert.Equal("04 Jul 2024|July 4|Thursday Thu|09:05:03|09 AM|186|2407%", text);
    }

    [Fact]
    public void Render_ExtraVariables_AreSeenByTheTemplate()
    {
        Dictionary<string, object?> variables = new()
        {
            ["tools"] = new object?[] { new Dictionary<string, object?> { ["name"] = "f", ["n"] = 1 }, null, 2.5, true },
            ["enable_thinking"] = false,
        };
        Assert.Equal("[{\"name\": \"f\", \"n\": 1}, null, 2.5, true]|False|<s>|</s>|a|True",
            ChatTemplate.Parse("{{ tools|tojson }}|{{ enable_thinking }}|{{ bos_token }}|{{ eos_token }}|{{ messages[0].content }}|{{ add_generation_prompt }}")
                .Render([new("user", "a")], true, "<s>", "</s>", variables));
        Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse("x").Render([], true, "", "", new Dictionary<string, object?> { ["v"] = new Version(1, 2) }));
    }

    [Fact]
    public void Render_ManyLongMessages_StaysInsideTheBudget()
    {
        ChatMessage[] chat = [.. Enumerable.Range(0, 5000).Select(i => new ChatMessage(i % 2 == 0 ? "user" : "assistant", new string('x', 2000)))];
        Assert.Equal(5000 * 2000 + 2500 * (9 + 14) + 11, ChatTemplate.Parse(ChatMl).Render(chat, true, "", "").Length);
    }

    public static TheoryData<string, bool, bool, bool, ContentForm, ContentForm> Stabilities => new()
    {
        { ChatMl, true, true, true, ContentForm.Verbatim, ContentForm.Verbatim },
        { ChatMl.Replace("m.content", "m.content | trim", StringComparison.Ordinal), true, true, true, ContentForm.Trimmed, ContentForm.Trimmed },
        { ChatMl.Replace("{{ m.content }}", "{{ m.content.rstrip() if m.role == 'assistant' else m.content }}", StringComparison.Ordinal), true, true, true, ContentForm.Verbatim, ContentForm.Altered },
        // Llama-2 style: the prompt ends where the reply begins, without a word of its own.
        { "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% elif m.role == 'assistant' %} {{ m.content }}</s>{% endif %}{% endfor %}", true, true, true, ContentForm.Verbatim, ContentForm.Verbatim },
        // The system message moves to the last user turn (Mistral).
        { "{% for m in messages if m.role != 'system' %}{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}{{ m.role }}:{{ m.content }};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}", false, false, true, ContentForm.Verbatim, ContentForm.Verbatim },
        // Reasoning is dropped from all replies but the last (Qwen3).
        { ChatMl.Replace("{{ m.content }}", "{{ m.content if loop.last or m.role != 'assistant' else m.content.split('</think>')[-1] }}", StringComparison.Ordinal), true, true, false, ContentForm.Verbatim, ContentForm.Verbatim },
        // The generation prompt has what a finished reply has not.
        { ChatMl.Replace("<assistant>", "<assistant><think>", StringComparison.Ordinal), false, true, true, ContentForm.Verbatim, ContentForm.Verbatim },
        { "{{ messages|length }}" + ChatMl, false, false, false, ContentForm.Verbatim, ContentForm.Verbatim },
        { "{{ raise_exception('no') }}", false, false, false, ContentForm.Altered, ContentForm.Altered },
    };

    [Theory, MemberData(nameof(Stabilities))]
    public void Check_KnownStyles_SaysWhatIsStable(string source, bool continues, bool appends, bool reasoning, ContentForm user, ContentForm assistant)
    {
        TemplateStability s = TemplateStability.Check(ChatTemplate.Parse(source), "<s>", "</s>");
        Assert.Equal((continues, appends, user, assistant), (s.ContinuesPrompt, s.AppendsTurns, s.UserContent, s.AssistantContent));
        Assert.Equal(reasoning, s.KeepsReasoning);
        Assert.Equal(continues && appends, s.Problem is null);
    }

    [Fact]
    public void Check_TemplateThatRefusesSystemMessages_IsJudgedByTheOthers()
    {
        TemplateStability s = TemplateStability.Check(ChatTemplate.Parse("{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + ChatMl), "", "");
        Assert.True(s is { ContinuesPrompt: true, AppendsTurns: true, Problem: null });
    }
}
