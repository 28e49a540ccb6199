namespace LongCtx.Conversations.Local;

/// <summary>The tokens of a prompt behind a mark: what is to be fed, as far as the cached sequence does not have it already.</summary>
/// <param name="Ids">Token ids.</param>
/// <param name="TurnStarts">Offsets in <paramref name="Ids"/> at which a turn begins, ascending. A turn that begins inside a token begins with the next.</param>
/// <param name="MessageEnds">(messages, offset): where that many messages of the request end, if it is exactly between two tokens.</param>
internal sealed record PromptTail(int[] Ids, int[] TurnStarts, (int Messages, int Tokens)[] MessageEnds)
{
    /// <summary>A raw text: no turns, no messages.</summary>
    public static PromptTail Raw(int[] ids) => new(ids, [], []);

    /// <summary>Cuts a text at the turns.</summary>
    /// <param name="text">The rest of a rendered chat.</param>
    /// <param name="turnStarts">Offsets in <paramref name="text"/> at which a turn begins.</param>
    /// <param name="messageEnds">(messages, offset in <paramref name="text"/>).</param>
    public static PromptTail Of(EncodedText text, IEnumerable<int> turnStarts, IEnumerable<(int Messages, int Chars)> messageEnds)
    {
        int[] starts = [.. turnStarts.Select(c => text.FirstTokenFrom(c).Token).Where(t => t < text.Ids.Length).Distinct().Order()];
        var ends = from end in messageEnds
                   let cut = text.FirstTokenFrom(end.Chars)
                   where cut.IsExact
                   select (end.Messages, cut.Token);
        return new(text.Ids, starts, [.. ends]);
    }
}

/// <summary>Token ids of a text and the index of the UTF-16 unit at which each begins; tokens that share a character share its index.</summary>
/// <param name="Ids">Token ids.</param>
/// <param name="Starts">Where each begins, ascending.</param>
/// <param name="Length">Length of the text.</param>
internal sealed record EncodedText(int[] Ids, int[] Starts, int Length)
{
    /// <summary>The first token that begins at or behind an offset; exact where it begins right there.</summary>
    public (int Token, bool IsExact) FirstTokenFrom(int offset)
    {
        int low = 0, high = Ids.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (Starts[middle] < offset) low = middle + 1;
            else high = middle;
        }
        return (low, offset == (low < Ids.Length ? Starts[low] : Length));
    }
}
