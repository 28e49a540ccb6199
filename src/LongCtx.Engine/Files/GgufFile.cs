namespace LongCtx.Engine.Files;

/// <summary>A GGUF file, version 2 or 3, little-endian.</summary>
/// <remarks>
/// magic 'GGUF' | version u32 | tensor count u64 | metadata count u64 | metadata | tensor table | padding | tensor data.
/// Offsets in the table count from the start of the data, which, like every tensor, begins at a multiple of general.alignment.
/// </remarks>
public sealed partial class GgufFile : ModelFile
{
    public const uint Magic = 0x46554747; // "GGUF"

    const int AlignmentDefault = 32;
    const int AlignmentMax = 1 << 20;
    const int DimensionCountMax = 4;
    const int NestingDepthMax = 4;
    const int KeyBytesMax = 65_535;
    const int StringBytesMax = 1 << 26;
    const int NameBytesMax = 1024;
    const int MetadataCountMax = 1 << 16;
    const int TensorCountMax = 1 << 20;
    const int ArrayLengthMax = 1 << 26;

    readonly MappedFile mapped;

    GgufFile(MappedFile file, GgufMetadata metadata, Dictionary<string, TensorInfo> tensors, Dictionary<string, UnsupportedTensor> unsupported)
        : base(file.Path, tensors, unsupported)
    {
        mapped = file;
        Metadata = metadata;
    }

    public GgufMetadata Metadata { get; }

    public static GgufFile Open(string path)
    {
        MappedFile file = MappedFile.Open(path);
        try
        {
            return Parse(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public override unsafe byte* Data(TensorInfo tensor) => mapped.Start + tensor.Offset;

    protected override void Dispose(bool disposing)
    {
        if (disposing) mapped.Dispose();
    }

    static GgufFile Parse(MappedFile file)
    {
        ByteCursor cursor = new(file);
        uint magic = cursor.Read<uint>("the magic number");
        if (magic != Magic) throw cursor.Fail(0, $"not a GGUF file: it begins with 0x{magic:x8} instead of 'GGUF'");
        uint version = cursor.Read<uint>("the version");
        if (version is not (2 or 3)) throw cursor.Fail(4, Refusal(version));

        int tensorCount = cursor.ReadCount(MinTensorEntryBytes, TensorCountMax, "the number of tensors");
        int metadataCount = cursor.ReadCount(MinMetadataEntryBytes, MetadataCountMax, "the number of metadata entries");
        GgufMetadata metadata = ReadMetadata(cursor, file.Path, metadataCount);
        if (metadata.Integer("split.count") is > 1 and long parts)
            throw metadata.Fail("split.count", $"this is one of {parts} parts of a split model; join them with 'llama-gguf-split --merge'");

        long alignment = metadata.Integer("general.alignment") ?? AlignmentDefault;
        if (alignment is < 1 or > AlignmentMax || !long.IsPow2(alignment))
            throw metadata.Fail("general.alignment", $"general.alignment is {alignment}; it must be a power of two up to {AlignmentMax}");

        Dictionary<string, TensorInfo> tensors = [];
        Dictionary<string, UnsupportedTensor> unsupported = [];
        ReadTensorTable(cursor, file.Length, tensorCount, alignment, tensors, unsupported);
        return new GgufFile(file, metadata, tensors, unsupported);
    }

    static string Refusal(uint version) => version switch
    {
        1 => "GGUF version 1 is not supported; convert the model again with a current llama.cpp",
        0x0200_0000 or 0x0300_0000 => "a big-endian GGUF file is not supported; convert the model again for a little-endian machine",
        _ => $"GGUF version {version} is not supported; supported are 2 and 3",
    };
}
