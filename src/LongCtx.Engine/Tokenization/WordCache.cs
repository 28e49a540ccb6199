namespace LongCtx.Engine.Tokenization;

/// <summary>
/// The tokens of short pieces seen before. One slot per hash: a collision overwrites, so memory is bounded and nothing is ever searched.
/// Entries are immutable and replaced whole, so readers need no lock.
/// </summary>
internal sealed class WordCache
{
    const int Slots = 1 << 14, LengthMax = 32;

    sealed record Entry(string Piece, int[] Ids);

    readonly Entry?[] _entries = new Entry?[Slots];

    public bool TryGet(ReadOnlySpan<char> piece, out int[] ids)
    {
        Entry? entry = piece.Length <= LengthMax ? Volatile.Read(ref _entries[Slot(piece)]) : null;
        bool found = entry is not null && piece.SequenceEqual(entry.Piece);
        ids = found ? entry!.Ids : [];
        return found;
    }

    public void Set(ReadOnlySpan<char> piece, int[] ids)
    {
        if (piece.Length <= LengthMax) Volatile.Write(ref _entries[Slot(piece)], new Entry(new string(piece), ids));
    }

    static int Slot(ReadOnlySpan<char> piece) => string.GetHashCode(piece, StringComparison.Ordinal) & (Slots - 1);
}
