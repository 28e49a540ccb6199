using System.Text.Json;

namespace LongCtx.Engine.Tokenization;

/// <summary>What tokenizer_config.json adds to tokenizer.json.</summary>
internal sealed record TokenizerConfig
{
    public string? BeginOfStream { get; init; }

    public string? EndOfStream { get; init; }

    public bool? AddsBeginOfStream { get; init; }

    public bool? AddsEndOfStream { get; init; }

    public string? ChatTemplate { get; init; }

    public static TokenizerConfig Read(string path)
    {
        JsonView root = JsonView.Read(path, out JsonDocument document);
        using (document)
        {
            return new TokenizerConfig
            {
                BeginOfStream = TokenText(root, "bos_token") ?? TokenText(root, "cls_token"),
                EndOfStream = TokenText(root, "eos_token") ?? TokenText(root, "sep_token"),
                AddsBeginOfStream = root.Optional("add_bos_token")?.Flag(),
                AddsEndOfStream = root.Optional("add_eos_token")?.Flag(),
                ChatTemplate = TemplateFile(path) ?? Template(root),
            };
        }
    }

    /// <summary>A token is its text or an object with "content".</summary>
    static string? TokenText(JsonView root, string name) =>
        root.Optional(name) is { } token ? token.Kind == JsonValueKind.String ? token.Text() : token.Text("content") : null;

    /// <summary>A template is one text, or several with names, of which "default" is for plain chats.</summary>
    static string? Template(JsonView root)
    {
        if (root.Optional("chat_template") is not { } template) return null;
        if (template.Kind == JsonValueKind.String) return template.Text();
        JsonView[] named = [.. template.Items()];
        foreach (JsonView t in named)
            if (t.Text("name") == "default") return t.Required("template").Text();
        return named.Length > 0 ? named[0].Required("template").Text() : null;
    }

    static string? TemplateFile(string configPath)
    {
        string path = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(configPath))!, "chat_template.jinja");
        try
        {
            return File.Exists(path) ? File.ReadAllText(path) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TokenizerException(path, null, "cannot be read: " + e.Message, e);
        }
    }
}
