using System.Text;
using System.Text.Json;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;
using LongCtx.Engine.Tests.Models;

namespace LongCtx.Engine.Tests.Files;

/// <summary>Safetensors files, shard indexes and the JSON files beside them.</summary>
public sealed class SafetensorsFuzzTests : IDisposable
{
    const string Good = """{"t":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]}}""";

    readonly TemporaryDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Fact]
    public void Open_MetadataHolesAndUnknownTypes_AreFine()
    {
        string header = """
            {"__metadata__":{"format":"pt","note":"ü"},"t":{"dtype":"F32","shape":[2,4],"data_offsets":[8,40]},"s":{"dtype":"F16","shape":[],"data_offsets":[0,2]},
            "ids":{"dtype":"I64","shape":[1],"data_offsets":[40,48]},"none":{"shape":[0,5],"data_offsets":[8,8],"dtype":"BF16"}}
            """;
        using SafetensorsFile file = SafetensorsFile.Open(directory.Write("model.safetensors", SafetensorsWriter.Write(header, new byte[64])));

        Assert.Equal("ü", file.Metadata["note"]);
        Assert.Equal(["none", "s", "t"], file.Tensors.Keys.Order());
        Assert.Equal((1, 1), (file.Require("s").ElementCount, file.Require("s").Rows));
        Assert.Equal((0, 0), (file.Require("none").ElementCount, file.Require("none").ByteLength));
        Assert.Contains("'ids' is stored as I64", Assert.Throws<ModelFileException>(() => file.Require("ids")).Message);
    }

    [Fact]
    public void Open_TruncatedAnywhere_IsRefused()
    {
        byte[] whole = SafetensorsWriter.Write([TestTensor.Random("a", TensorType.F32, [3, 5], new Random(1)), TestTensor.Random("b", TensorType.BF16, [7], new Random(2))]);
        for (int length = 0; length < whole.Length; length++)
            Assert.NotNull(Hostile.OpenSafetensors(directory.Write("model.safetensors", whole.AsSpan(0, length)), $"truncated to {length}"));
        Assert.Null(Hostile.OpenSafetensors(directory.Write("model.safetensors", whole), "whole"));
    }

    public static TheoryData<string, byte[], string> HostileFiles => new()
    {
        { "seven bytes", new byte[7], "has only 7 bytes" },
        { "huge header", [255, 255, 255, 255, 255, 255, 255, 127, (byte)'{'], "claims a header of 9223372036854775807 bytes; at most 100000000" },
        { "negative header", [255, 255, 255, 255, 255, 255, 255, 255, (byte)'{'], "claims a header of 18446744073709551615 bytes" },
        { "header beyond the end", [0, 0, 0, 5, 0, 0, 0, 0, (byte)'{'], "claims a header of 83886080 bytes but ends after 1" },
        { "empty header", Of(""), "the header is not valid JSON" },
        { "an array", Of("[]"), "the header must be StartObject but is StartArray" },
        { "two objects", Of("{}{}"), "the header" },
        { "deep nesting", Of("{\"t\":" + new string('[', 200_000)), "a tensor entry must be StartObject" },
        { "deep nesting in a shape", Of("{\"t\":{\"shape\":[" + new string('[', 200_000)), "'shape' must hold integers" },
        { "deep nesting in metadata", Of("{\"__metadata__\":{\"a\":" + new string('{', 200_000)), "a value of '__metadata__' must be String" },
        { "duplicate tensor", Of("""{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"""), "tensor 't' occurs twice" },
        { "duplicate by escape", Of("""{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u0074":{"dtype":"I8","shape":[1],"data_offsets":[4,8]}}"""), "tensor 't' occurs twice" },
        { "duplicate metadata", Of("""{"__metadata__":{"a":"1","a":"2"}}"""), "metadata 'a' occurs twice" },
        { "two metadata objects", Of("""{"__metadata__":{},"__metadata__":{}}"""), "'__metadata__' occurs twice" },
        { "metadata of numbers", Of("""{"__metadata__":{"a":1}}"""), "a value of '__metadata__' must be String but is Number" },
        { "missing shape", Of("""{"t":{"dtype":"F32","data_offsets":[0,32]}}"""), "tensor 't' lacks one of dtype, shape and data_offsets" },
        { "unknown property", Of("""{"t":{"dtype":"F32","strides":[1]}}"""), "tensor 't' has an unknown property" },
        { "three offsets", Of(Good.Replace("[0,32]", "[0,32,64]")), "tensor 't' lacks one of" },
        { "reversed offsets", Of(Good.Replace("[0,32]", "[32,0]")), "tensor 't' lies at bytes 32 to 0 of only 32 bytes" },
        { "offsets beyond the end", Of(Good.Replace("[0,32]", "[32,64]")), "tensor 't' lies at bytes 32 to 64 of only 32 bytes" },
        { "negative offset", Of(Good.Replace("[0,32]", "[-32,0]")), "'data_offsets' must hold integers from 0" },
        { "overflowing offset", Of(Good.Replace("[0,32]", "[0,18446744073709551616]")), "'data_offsets' must hold integers from 0" },
        { "largest offset", Of(Good.Replace("[0,32]", "[0,9223372036854775807]")), "of only 32 bytes of data" },
        { "shape too small", Of(Good.Replace("[2,4]", "[2,3]")), "tensor 't' of type F32 and shape [2, 3] does not fill its 32 bytes" },
        { "overflowing shape", Of(Good.Replace("[2,4]", "[4294967296,4294967296,2]")), "does not fill its 32 bytes" },
        { "overflowing to the right size", Of(Good.Replace("[2,4]", "[4611686018427387912]")), "does not fill its 32 bytes" },
        { "too many dimensions", Of(Good.Replace("[2,4]", "[1,1,1,1,1,1,1,2,4]")), "'shape' has more than 8 numbers" },
        { "fractional shape", Of(Good.Replace("[2,4]", "[2.5,4]")), "'shape' must hold integers" },
        { "overlap", Of("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"u":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"""), "tensors 't' and 'u' overlap" },
        { "lone surrogate", Of("""{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"""), "the header is not valid JSON" },
    };

    [Theory]
    [MemberData(nameof(HostileFiles), DisableDiscoveryEnumeration = true)]
    public void Open_HostileFile_SaysWhatIsWrong(string name, byte[] file, string problem)
    {
        ModelFileException? e = Hostile.OpenSafetensors(directory.Write("model.safetensors", file), name);
        Assert.NotNull(e);
        Assert.Contains(problem, e.Message);
    }

    [Theory]
    [InlineData("../model.safetensors")]
    [InlineData("sub/model.safetensors")]
    [InlineData("/etc/passwd")]
    [InlineData("..\\\\model.safetensors")]
    [InlineData("c:model.safetensors")]
    [InlineData("..")]
    [InlineData("")]
    [InlineData("a\\u0000b")]
    public void Open_IndexThatLeavesItsDirectory_IsRefused(string shard)
    {
        directory.Write("model.safetensors", SafetensorsWriter.Write(Good, new byte[32])); // reachable from the sub-folder by the first name
        directory.Write("inside/sub/model.safetensors", SafetensorsWriter.Write(Good, new byte[32]));
        ModelFileException? e = OpenIndex($$$"""{"weight_map":{"t":"{{{shard}}}"}}""");
        Assert.NotNull(e);
        Assert.Contains("which is not the name of a file in its own directory", e.Message);
    }

    [Fact]
    public void Open_HostileIndex_SaysWhatIsWrong()
    {
        directory.Write("inside/a.safetensors", SafetensorsWriter.Write(Good, new byte[32]));
        Assert.Null(OpenIndex("""{"weight_map":{"t":"a.safetensors"}}"""));
        Check("""{"weight_map":{"t":"a.safetensors","t":"a.safetensors"}}""", "is not valid JSON");
        Check("""{"weight_map":{"t":"a.safetensors","u":"a.safetensors"}}""", "places tensor 'u' in 'a.safetensors', which does not hold it");
        Check("""{"weight_map":{"t":"b.safetensors"}}""", "cannot be opened");
        Check("""{"weight_map":{"t":1}}""", "'weight_map' must be a string but is Number");
        Check("""{"weight_map":[]}""", "has no 'weight_map' object");
        Check("""{"weight_map":{"t":"\ud800"}}""", "'weight_map' is not valid Unicode");
        Check("""{"weight_map":{"\ud800":"a.safetensors"}}""", "not valid");
        Check("{\"weight_map\":" + new string('{', 100_000), "is not valid JSON");
        Check($$"""{"weight_map":{{JsonSerializer.Serialize(Enumerable.Range(0, 2000).ToDictionary(i => $"t{i}", i => $"s{i}"))}}}""", "lists more than 1024 shards");

        void Check(string index, string problem)
        {
            ModelFileException? e = OpenIndex(index);
            Assert.NotNull(e);
            Assert.Contains(problem, e.Message);
        }
    }

    [Fact]
    public void Open_RandomlyDamagedDirectory_IsRefusedOrConsistent()
    {
        const int seed = 4712;
        byte[] weights = SafetensorsWriter.Write(TinyModel.Tensors(TinyModel.Decoder, ModelFormat.HuggingFace, TensorType.BF16), new() { ["format"] = "pt" });
        int header = 8 + BitConverter.ToInt32(weights);
        (string Name, byte[] Content, int Range)[] files =
        [
            ("config.json", Bytes(TinyModel.DecoderJson(more: """
                "eos_token_id": [2, 3], "head_dim": 8,
                "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
                """)), 0),
            ("tokenizer_config.json", Bytes("""{"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": [{"name": "default", "template": "grüße {{ x }}"}]}"""), 0),
            ("generation_config.json", Bytes("""{"eos_token_id": [2, 3], "temperature": 0.7}"""), 0),
            ("model.safetensors", weights, header),
        ];
        foreach (var (name, content, _) in files) directory.Write(name, content);
        Assert.Null(Hostile.OpenModel(directory.Path, "whole"));

        Random random = new(seed);
        int refused = 0;
        const int rounds = 4000;
        for (int round = 0; round < rounds; round++)
        {
            var (name, content, range) = files[round % files.Length];
            directory.Write(name, Hostile.Mutate(content, range == 0 ? content.Length : range, random));
            if (Hostile.OpenModel(directory.Path, $"seed {seed}, round {round}, {name}") is not null) refused++;
            directory.Write(name, content);
        }

        Assert.InRange(refused, rounds / 2, rounds - 1);
    }

    ModelFileException? OpenIndex(string index) => Hostile.OpenSafetensors(directory.Write("inside/model.safetensors.index.json", index), index[..Math.Min(100, index.Length)]);

    static byte[] Of(string header) => SafetensorsWriter.Write(header, new byte[32]);

    static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);
}
