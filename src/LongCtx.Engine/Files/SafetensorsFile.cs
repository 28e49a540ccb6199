namespace LongCtx.Engine.Files;

/// <summary>A safetensors model: one file, or several shards that model.safetensors.index.json lists.</summary>
public sealed class SafetensorsFile : ModelFile
{
    public const string SingleName = "model.safetensors";
    public const string IndexName = "model.safetensors.index.json";

    const int ShardCountMax = 1024;

    readonly MappedFile[] shards;

    SafetensorsFile(
        string path, MappedFile[] shards, Dictionary<string, TensorInfo> tensors,
        Dictionary<string, UnsupportedTensor> unsupported, IReadOnlyDictionary<string, string> metadata)
        : base(path, tensors, unsupported)
    {
        this.shards = shards;
        Metadata = metadata;
    }

    /// <summary>The strings under __metadata__; of a sharded model those of all shards, the first one winning.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens a .safetensors file or a model.safetensors.index.json.</summary>
    public static SafetensorsFile Open(string path) =>
        path.EndsWith(".json", StringComparison.OrdinalIgnoreCase) ? OpenShards(path) : OpenSingle(path);

    public override unsafe byte* Data(TensorInfo tensor) => shards[tensor.Part].Start + tensor.Offset;

    public override string PathOf(TensorInfo tensor) => shards[tensor.Part].Path;

    protected override void Dispose(bool disposing)
    {
        if (!disposing) return;
        foreach (MappedFile shard in shards) shard.Dispose();
    }

    static SafetensorsFile OpenSingle(string path)
    {
        MappedFile file = MappedFile.Open(path);
        try
        {
            SafetensorsHeader header = SafetensorsHeader.Read(file, part: 0);
            return new SafetensorsFile(path, [file], header.Tensors, header.Unsupported, header.Metadata);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    static SafetensorsFile OpenShards(string path)
    {
        Dictionary<string, List<string>> tensorsByShard = ReadIndex(path);
        string directory = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!;
        List<MappedFile> files = [];
        try
        {
            Dictionary<string, TensorInfo> tensors = [];
            Dictionary<string, UnsupportedTensor> unsupported = [];
            Dictionary<string, string> metadata = [];
            foreach ((string shard, List<string> names) in tensorsByShard)
            {
                MappedFile file = MappedFile.Open(System.IO.Path.Combine(directory, shard));
                files.Add(file);
                SafetensorsHeader header = SafetensorsHeader.Read(file, part: files.Count - 1);
                foreach ((string key, string value) in header.Metadata) metadata.TryAdd(key, value);
                foreach (string name in names)
                {
                    if (header.Tensors.TryGetValue(name, out TensorInfo? tensor)) tensors.Add(name, tensor);
                    else if (header.Unsupported.TryGetValue(name, out UnsupportedTensor? other)) unsupported.Add(name, other);
                    else throw new ModelFileException(path, 0, $"places tensor '{name}' in '{shard}', which does not hold it");
                }
            }

            return new SafetensorsFile(path, [.. files], tensors, unsupported, metadata);
        }
        catch
        {
            foreach (MappedFile file in files) file.Dispose();
            throw;
        }
    }

    /// <summary>weight_map turned round: shard file name → its tensors. Property names are unique, so no tensor occurs twice.</summary>
    static Dictionary<string, List<string>> ReadIndex(string path)
    {
        using JsonFile json = JsonFile.Open(path);
        if (!json.Root.TryGetProperty("weight_map", out var map) || map.ValueKind != System.Text.Json.JsonValueKind.Object)
            throw json.Fail(json.Root, "has no 'weight_map' object, so it is not a safetensors index");
        Dictionary<string, List<string>> tensorsByShard = [];
        foreach ((string tensor, var value) in json.Members(map))
        {
            string shard = json.Text(value, "weight_map");
            if (shard.Length == 0 || shard is "." or ".." || shard.AsSpan().ContainsAny("/\\:\0"))
                throw json.Fail(value, $"places tensor '{tensor}' in '{shard}', which is not the name of a file in its own directory");
            if (!tensorsByShard.TryGetValue(shard, out List<string>? names))
            {
                if (tensorsByShard.Count == ShardCountMax) throw json.Fail(value, $"lists more than {ShardCountMax} shards");
                tensorsByShard.Add(shard, names = []);
            }

            names.Add(tensor);
        }

        return tensorsByShard;
    }
}
