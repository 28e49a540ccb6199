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

/// <summary>Token ids of a text, and the range of UTF-16 units that each came from.</summary>
internal sealed record EncodedText(int[] Ids, (int Start, int End)[] Ranges)
{
    /// <summary>The first token that begins at or behind an offset; exact where nothing of the token before it reaches over the offset.</summary>
    public (int Token, bool IsExact) FirstTokenFrom(int offset)
    {
        int low = 0, high = Ids.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (Ranges[middle].Start < offset) low = middle + 1;
            else high = middle;
        }
        return (low, low == 0 ? offset == 0 : Ranges[low - 1].End == offset);
    }
}
