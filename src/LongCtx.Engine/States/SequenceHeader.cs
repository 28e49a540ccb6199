using LongCtx.Engine.Cache;
using LongCtx.Engine.Files;

namespace LongCtx.Engine.States;

/// <summary>
/// The front of a file that holds a sequence: safetensors, so that other tools can look into it.
/// <code>
///   header: __metadata__ (what the sequence is, and for which model), tensors
///   for each table that holds blocks:  keys [blocks, layers, heads, d, 64] | values [blocks, layers, heads, 64, v] | biases, if there are any
///   checksum: SHA-256 of every byte before it
/// </code>
/// </summary>
internal sealed partial record SequenceHeader
{
    public const int ChecksumBytes = 32;

    /// <summary>Bytes of a slice: what the engine copies between two steps, about a millisecond's worth.</summary>
    const int SliceBytes = 4 << 20;

    public required SequenceKind Kind { get; init; }

    public required KvState Cache { get; init; }

    public required int Pending { get; init; }

    public required int[] Recent { get; init; }

    public required IReadOnlyList<KvTable> Biased { get; init; }

    /// <summary>The caller's own.</summary>
    public required IReadOnlyDictionary<string, string> Labels { get; init; }

    /// <summary>Tokens, the pending one included.</summary>
    public long TokenCount => Cache.Count + (Pending >= 0 ? 1 : 0);

    /// <summary>The tensors in their order in the file.</summary>
    IEnumerable<(KvTable Table, KvPart Part)> Tensors()
    {
        foreach (KvTable table in Enum.GetValues<KvTable>())
        {
            if (Cache[table].Count == 0) continue;
            yield return (table, KvPart.Keys);
            yield return (table, KvPart.Values);
            if (Biased.Contains(table)) yield return (table, KvPart.Biases);
        }
    }

    IEnumerable<TensorEntry> Entries()
    {
        foreach ((KvTable table, KvPart part) in Tensors())
        {
            int blocks = Cache[table].Count;
            yield return new(NameOf(table, part), Kind.Layout.TypeOf(part).ToString(), [blocks, .. Kind.Layout.ShapeOf(part)], (long)blocks * Kind.Layout.BytesOf(part));
        }

        yield return new("checksum", "U8", [ChecksumBytes], ChecksumBytes);
    }

    /// <summary>Bytes between header and checksum.</summary>
    public long PayloadBytes => Tensors().Sum(t => (long)Cache[t.Table].Count * Kind.Layout.BytesOf(t.Part));

    /// <summary>The payload in pieces, in their order in the file.</summary>
    public IReadOnlyList<SequenceSlice> Slices()
    {
        List<SequenceSlice> slices = [];
        foreach ((KvTable table, KvPart part) in Tensors())
        {
            int blockBytes = Kind.Layout.BytesOf(part), most = Math.Max(1, SliceBytes / blockBytes);
            BlockRange blocks = Cache[table];
            for (long first = blocks.First; first < blocks.End; first += most)
                slices.Add(new(table, part, new(first, (int)Math.Min(most, blocks.End - first)), blockBytes));
        }

        return slices;
    }

    static string NameOf(KvTable table, KvPart part) => $"{NameOf(table)}.{part.ToString().ToLowerInvariant()}";

    static string NameOf(KvTable table) => table switch
    {
        KvTable.SinksNear => "sinks_near",
        KvTable.SinksFar => "sinks_far",
        KvTable.Near => "near",
        _ => "far",
    };
}

/// <summary>A part of some blocks of a table, back to back.</summary>
internal readonly record struct SequenceSlice(KvTable Table, KvPart Part, BlockRange Blocks, int BlockBytes)
{
    public int Bytes => Blocks.Count * BlockBytes;
}
