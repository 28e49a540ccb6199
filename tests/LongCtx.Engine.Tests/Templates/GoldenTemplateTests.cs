using System.Text.Json;
using LongCtx.Engine.Templates;
using LongCtx.Engine.Tests.Tokenization;

namespace LongCtx.Engine.Tests.Templates;

public class GoldenTemplateTests
{
    static JsonElement Golden(string name) => JsonDocument.Parse(File.ReadAllBytes(Repository.Golden(name))).RootElement;

    static Dictionary<string, object?> Variables(JsonElement context) => context.EnumerateObject().ToDictionary(p => p.Name, p => (object?)p.Value);

    static void Check(string template, JsonElement context, JsonElement expected)
    {
        if (expected.TryGetProperty("rendered", out JsonElement rendered))
            Assert.Equal(rendered.GetString(), ChatTemplate.Parse(template).Render(Variables(context)));
        else
        {
            string error = expected.GetProperty("error").GetString()!;
            ChatTemplateException thrown = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(template).Render(Variables(context)));
            if (thrown.Raised) Assert.EndsWith(thrown.Problem, error, StringComparison.Ordinal);
            Assert.True(thrown.Line > 0);
        }
    }

    public static TheoryData<int> PublishedCases => [.. Enumerable.Range(0, Golden("chat_templates.json").GetArrayLength())];

    public static TheoryData<int> LanguageCases => [.. Enumerable.Range(0, Golden("jinja.json").GetProperty("cases").GetArrayLength())];

    [Theory, MemberData(nameof(PublishedCases))]
    public void Render_PublishedTemplate_EqualsReference(int index)
    {
        JsonElement item = Golden("chat_templates.json")[index];
        Check(item.GetProperty("template").GetString()!, item.GetProperty("context"), item);
    }

    [Theory, MemberData(nameof(LanguageCases))]
    public void Render_LanguageFeature_EqualsJinja(int index)
    {
        JsonElement golden = Golden("jinja.json");
        JsonElement item = golden.GetProperty("cases")[index];
        Check(item.GetProperty("template").GetString()!, golden.GetProperty("context"), item);
    }

    [Theory]
    [InlineData("smollm2")]
    [InlineData("pg19-7m")]
    public void Render_BundledModelsTemplate_ParsesAndIsStable(string model)
    {
        ChatTemplate template = ChatTemplate.Parse(Bundled.Named(model).ChatTemplate!);
        Assert.Contains("Hi", template.Render([new("user", "Hi")], true, "", ""), StringComparison.Ordinal);
        TemplateStability stability = TemplateStability.Check(template, "", "");
        Assert.True(stability.AppendsTurns && stability.ContinuesPrompt, stability.Problem);
        Assert.Equal((ContentForm.Verbatim, ContentForm.Verbatim), (stability.UserContent, stability.AssistantContent));
    }

    [Fact]
    public void Render_SmolLM2_GivesReferenceTextAndIds()
    {
        ChatTemplate template = ChatTemplate.Parse(Bundled.SmolLM2.ChatTemplate!);
        foreach (JsonElement item in Golden("smollm2/chat_template.json").EnumerateArray())
        {
            ChatMessage[] messages = [.. item.GetProperty("messages").EnumerateArray()
                .Select(m => new ChatMessage(m.GetProperty("role").GetString()!, m.GetProperty("content").GetString()!))];
            string text = template.Render(messages, addGenerationPrompt: true, "", "");
            Assert.Equal(item.GetProperty("rendered").GetString(), text);
            Assert.Equal([.. item.GetProperty("ids").EnumerateArray().Select(e => e.GetInt32())], Bundled.SmolLM2.Encode(text));
        }
    }
}
