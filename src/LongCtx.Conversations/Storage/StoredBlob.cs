using System.Text.RegularExpressions;

namespace LongCtx.Conversations.Storage;

/// <summary>One of a conversation's blobs, without its content.</summary>
/// <param name="Name">See <see cref="CheckName"/>.</param>
/// <param name="Length">In bytes.</param>
public sealed partial record StoredBlob(string Name, long Length)
{
    /// <exception cref="ArgumentException">It is not 1 to 100 of a-z, 0-9, '.', '_' and '-'.</exception>
    public static void CheckName(string name)
    {
        if (!NamePattern().IsMatch(name)) throw new ArgumentException($"A blob's name is 1 to 100 of a-z, 0-9, '.', '_' and '-'; '{name}' is not.", nameof(name));
    }

    [GeneratedRegex(@"\A[a-z0-9._-]{1,100}\z", RegexOptions.CultureInvariant)]
    private static partial Regex NamePattern();
}
