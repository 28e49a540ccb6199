using System.Globalization;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Files;

namespace LongCtx.Engine.States;

/// <summary>The header as text, and back: what is read is checked so far that no number in it can do harm.</summary>
internal sealed partial record SequenceHeader
{
    const string Format = "longctx.sequence", Version = "2", LabelPrefix = "label.";

    /// <summary>Room for a hundred thousand turns and long labels.</summary>
    const int BytesMax = 4 << 20;

    /// <summary>Length and header, as they stand at the beginning of the file.</summary>
    /// <exception cref="LongCtxException">The labels are too long.</exception>
    public byte[] ToBytes()
    {
        List<KeyValuePair<string, string>> metadata =
        [
            new("format", Format),
            new("version", Version),
            new("model", Kind.Model),
            new("layout", Kind.Layout.Name),
            new("block_size", Text(BlockPool.BlockSize)),
            new("layers", Text(Kind.Layout.Layers)),
            new("kv_heads", Text(Kind.Layout.Heads)),
            new("key_dimension", Text(Kind.Layout.KeyDimension)),
            new("value_dimension", Text(Kind.Layout.ValueDimension)),
            new("policy", Kind.Policy.ToString()),
            new("count", Text(Cache.Count)),
            new("far_from", Text(Cache.FarFrom)),
            new("turn_starts", string.Join(',', Cache.Turns.ToArray())),
            new("pending", Text(Pending)),
            new("recent", string.Join(',', Recent)),
            new("adapter", Kind.Adapter),
        ];
        foreach (KvTable table in Enum.GetValues<KvTable>())
        {
            metadata.Add(new(NameOf(table), $"{Text(Cache[table].First)},{Text(Cache[table].Count)}"));
            metadata.Add(new(AdaptersOf(table), string.Join(',', Cache.Adapters[table].Runs.Select(run => $"{(run.Digest.Length == 0 ? MetadataReader.BaseName : run.Digest)}*{Text(run.Count)}"))));
        }

        foreach ((string key, string value) in Labels) metadata.Add(new(LabelPrefix + key, value));
        byte[] bytes = SafetensorsHeaderWriter.Write(metadata, Entries());
        return bytes.Length <= BytesMax ? bytes : throw new LongCtxException(ErrorCode.InvalidRequest, $"the labels of a saved sequence make a header of {bytes.Length} bytes; at most {BytesMax} are allowed", "labels");
    }

    /// <summary>Length of the header that a file of <paramref name="fileLength"/> bytes announces in its first 8.</summary>
    public static int CheckLength(string path, ulong announced, long fileLength)
    {
        if (announced > BytesMax - 8) throw new SequenceFileException(path, $"announces a header of {announced} bytes, more than a sequence has: it is something else, or damaged");
        if ((long)announced > fileLength - 8) throw new SequenceFileException(path, "ends inside its header: it is truncated");
        return (int)announced;
    }

    /// <summary>Reads what <see cref="ToBytes"/> wrote, without the length.</summary>
    /// <exception cref="SequenceFileException">It is not a sequence, one that cannot be, or one of another kind than <paramref name="wanted"/>.</exception>
    public static SequenceHeader Parse(string path, ReadOnlySpan<byte> json, long fileLength, SequenceKind wanted)
    {
        SafetensorsHeader file;
        try
        {
            file = SafetensorsHeader.Parse(path, json, fileLength);
        }
        catch (ModelFileException e)
        {
            throw new SequenceFileException(path, e.Problem, e);
        }

        var read = new MetadataReader(path, file.Metadata);
        if (read.Text("format") != Format) throw read.Refuse("is not a LongCtx sequence");
        if (read.Text("version") != Version) throw read.Refuse($"is of format version {read.Text("version")} and this program reads {Version}");
        if (read.Number("block_size", 1, int.MaxValue) != BlockPool.BlockSize) throw read.Refuse($"has blocks of {read.Text("block_size")} tokens and this program {BlockPool.BlockSize}");
        var layout = new KvLayout(read.Text("layout"), read.Dimension("layers"), read.Dimension("kv_heads"), read.Dimension("key_dimension"), read.Dimension("value_dimension"));
        var kind = new SequenceKind(read.Text("model"), layout, read.Policy("policy"), read.Text("adapter"), wanted.Vocabulary);
        if (kind.Difference(wanted) is { } difference) throw read.Refuse("is foreign: " + difference);
        KvTable[] tables = Enum.GetValues<KvTable>();
        var header = new SequenceHeader
        {
            Kind = kind,
            Cache = new(
                kind.Policy, read.Number("count", 0, long.MaxValue), read.Number("far_from", 0, long.MaxValue), new(read.Ascending("turn_starts")),
                read.Range(NameOf(KvTable.SinksNear)), read.Range(NameOf(KvTable.SinksFar)), read.Range(NameOf(KvTable.Near)), read.Range(NameOf(KvTable.Far)))
            {
                Adapters = new(
                    read.AdapterRuns(AdaptersOf(KvTable.SinksNear)), read.AdapterRuns(AdaptersOf(KvTable.SinksFar)), read.AdapterRuns(AdaptersOf(KvTable.Near)), read.AdapterRuns(AdaptersOf(KvTable.Far))),
            },
            Pending = (int)read.Number("pending", -1, kind.Vocabulary - 1),
            Recent = [.. read.Numbers("recent").Select(id => id >= 0 && id < kind.Vocabulary ? (int)id : throw read.Refuse($"has a token {id} beyond the vocabulary"))],
            Biased = [.. tables.Where(t => file.Tensors.ContainsKey(NameOf(t, KvPart.Biases)))],
            Labels = file.Metadata.Where(m => m.Key.StartsWith(LabelPrefix, StringComparison.Ordinal)).ToDictionary(m => m.Key[LabelPrefix.Length..], m => m.Value),
        };
        if (header.Cache.Problem() is { } problem) throw read.Refuse("is no sequence that can be: " + problem);
        if (header.Recent.Length > header.TokenCount) throw read.Refuse($"has {header.Recent.Length} newest tokens of {header.TokenCount}");
        header.CheckTensors(file, read, json.Length, fileLength);
        return header;
    }

    /// <summary>The tensors are those that the sequence needs, in their order, and fill the file.</summary>
    void CheckTensors(SafetensorsHeader file, MetadataReader read, int headerLength, long fileLength)
    {
        long offset = 8 + headerLength;
        int count = 0;
        foreach (TensorEntry expected in Entries().SkipLast(1))
        {
            if (!file.Tensors.TryGetValue(expected.Name, out TensorInfo? tensor)) throw read.Refuse($"lacks the tensor '{expected.Name}'");
            if (tensor.Type.ToString() != expected.DataType || !tensor.Shape.AsSpan().SequenceEqual(expected.Shape))
                throw read.Refuse($"has '{expected.Name}' as {tensor.Type} {tensor.ShapeText} where the sequence needs {expected.DataType} {TensorInfo.Describe(expected.Shape)}");
            if (tensor.Offset != offset) throw read.Refuse($"has '{expected.Name}' at byte {tensor.Offset} instead of {offset}");
            offset += expected.ByteLength;
            count++;
        }

        if (count != file.Tensors.Count || file.Unsupported.Count != 1 || !file.Unsupported.ContainsKey("checksum")) throw read.Refuse("has other tensors than a sequence");
        if (fileLength != offset + ChecksumBytes) throw read.Refuse($"has {fileLength} bytes instead of {offset + ChecksumBytes}: it is truncated or damaged");
    }

    static string AdaptersOf(KvTable table) => NameOf(table) + ".adapters";

    static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
