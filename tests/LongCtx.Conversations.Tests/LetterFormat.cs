using System.Text;
using LongCtx.Conversations.Local;

namespace LongCtx.Conversations.Tests;

/// <summary>
/// A chat format without a model: one token per letter, tags such as &lt;|x|&gt; are one token. A reply that was "generated" has ids that
/// tokenising its text never gives, so that a test sees whether generated ids stayed.
/// </summary>
internal static class LetterFormat
{
    const int TagBase = 0x20000;
    const int GeneratedBase = 0x10000;
    static readonly List<string> Tags = [];

    public static ChatFormat ChatMl(string? defaultSystem = null, bool trims = false, bool stable = true) =>
        new((messages, opens) => RenderChatMl(messages, opens, defaultSystem, trims), Encode, "", stable);

    static string RenderChatMl(IReadOnlyList<ChatMessage> messages, bool opens, string? defaultSystem, bool trims)
    {
        var text = new StringBuilder();
        for (int i = 0; i < messages.Count; i++)
        {
            if (i == 0 && defaultSystem is not null && messages[0].Role != "system") text.Append("<|start|>system\n" + defaultSystem + "<|end|>\n");
            text.Append("<|start|>" + messages[i].Role + "\n" + (trims ? messages[i].Content.Trim() : messages[i].Content) + "<|end|>\n");
        }
        if (opens) text.Append("<|start|>assistant\n");
        return text.ToString();
    }

    public static EncodedText Encode(string text)
    {
        var ids = new List<int>();
        var starts = new List<int>();
        for (int i = 0; i < text.Length;)
        {
            int end = text.AsSpan(i).StartsWith("<|") ? text.IndexOf("|>", i, StringComparison.Ordinal) + 2 : i + 1;
            ids.Add(end == i + 1 ? text[i] : TagBase + TagId(text[i..end]));
            starts.Add(i);
            i = end;
        }
        return new([.. ids], [.. starts], text.Length);
    }

    /// <summary>Ids as a model would generate them.</summary>
    public static int[] Generated(string text) => [.. text.Select(c => GeneratedBase + c)];

    public static string Decode(IEnumerable<int> ids)
    {
        lock (Tags)
            return string.Concat(ids.Select(id => id >= TagBase ? Tags[id - TagBase] : ((char)(id % GeneratedBase)).ToString()));
    }

    static int TagId(string tag)
    {
        lock (Tags)
        {
            if (!Tags.Contains(tag)) Tags.Add(tag);
            return Tags.IndexOf(tag);
        }
    }
}
