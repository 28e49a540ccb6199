using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;
using LongCtx.Engine.Tests.Files;
using LongCtx.Engine.Tests.Models;

namespace LongCtx.Engine.Tests.Adapters;

/// <summary>PEFT directories: what is read is what was trained, and what would be misread is refused.</summary>
public sealed class PeftDirectoryTests : IDisposable
{
    static readonly DecoderConfig Model = TinyModel.Decoder;
    readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(TensorType.F32)]
    [InlineData(TensorType.F16)]
    [InlineData(TensorType.BF16)]
    public void Read_EveryTypeAndTargetSet_GivesTheNumbers(TensorType type)
    {
        foreach (LoraTargets targets in (LoraTargets[])[LoraTargets.All, LoraTargets.Query, LoraTargets.Down, LoraTargets.Query | LoraTargets.Value | LoraTargets.Up])
        {
            LoraWeights weights = PeftAdapter.Random(Model, 3, rank: 5, alpha: 7, targets);
            LoraWeights read = PeftDirectory.Read(PeftAdapter.Write(_directory, PeftAdapter.Config(weights), PeftAdapter.Tensors(weights, type)), Model);

            Assert.Equal((5, 7.0, targets), (read.Layout.Rank, read.Layout.Alpha, read.Layout.Targets));
            for (int layer = 0; layer < Model.LayerCount; layer++)
                foreach (LoraTargets target in read.Layout.PresentTargets)
                {
                    Compare(weights.A(layer, target), read.A(layer, target));
                    Compare(weights.B(layer, target), read.B(layer, target));
                }

            if (type == TensorType.F32) Assert.Equal(weights.Digest, read.Digest);
        }

        void Compare(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
        {
            float[] stored = new float[expected.Length];
            Dequantizer.ToFloat32(type, Quantizer.Quantize(type, expected.ToArray()), stored);
            Assert.True(actual.SequenceEqual(stored));
        }
    }

    [Fact]
    public void Read_RankStabilised_ScalesByTheRootOfTheRank()
    {
        LoraWeights weights = PeftAdapter.Random(Model, 4, rank: 16, alpha: 8);
        JsonObject config = PeftAdapter.Config(weights);
        config["use_rslora"] = true;
        Assert.Equal(8f / 4, PeftDirectory.Read(PeftAdapter.Write(_directory, config, PeftAdapter.Tensors(weights)), Model).Layout.Scale);
    }

    [Fact]
    public void Read_AllLinearAndModulesWithTheirParent_AreUnderstood()
    {
        LoraWeights weights = PeftAdapter.Random(Model, 4);
        JsonObject config = PeftAdapter.Config(weights);
        config["target_modules"] = "all-linear";
        Assert.Equal(weights.Digest, PeftDirectory.Read(PeftAdapter.Write(_directory, config, PeftAdapter.Tensors(weights)), Model).Digest);
        config["target_modules"] = new JsonArray("self_attn.q_proj", "k_proj", "v_proj", "o_proj", "mlp.gate_proj", "up_proj", "down_proj");
        Assert.Equal(weights.Digest, PeftDirectory.Read(PeftAdapter.Write(_directory, config, PeftAdapter.Tensors(weights)), Model).Digest);
    }

    [Fact]
    public void Write_GivesADirectoryThatReadsBackAndHasPeftsNames()
    {
        LoraWeights weights = PeftAdapter.Random(Model, 5, rank: 3, alpha: 3 * Math.Sqrt(2), LoraTargets.Gate | LoraTargets.Key);
        string path = _directory.File("made/here");
        PeftDirectory.Write(weights, path, "some/model");

        Assert.Equal(weights.Digest, PeftDirectory.Read(path, Model).Digest);
        Assert.Equal(["adapter_config.json", "adapter_model.safetensors"], Directory.GetFiles(path).Select(f => Path.GetFileName(f)).Order());
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(path, "adapter_model.safetensors"));
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Equal(PeftAdapter.Tensors(weights).Select(t => (t.Name, TensorInfo.Describe(t.Shape))).Order(), file.Tensors.Values.Select(t => (t.Name, t.ShapeText)).Order());
        using JsonDocument config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(path, "adapter_config.json")));
        Assert.Equal("some/model", config.RootElement.GetProperty("base_model_name_or_path").GetString());
    }

    public static TheoryData<string, string, string> RefusedSettings => new()
    {
        { "peft_type", "\"LOHA\"", "'peft_type' is 'LOHA'; only LORA" },
        { "peft_type", "null", "'peft_type' is missing" },
        { "task_type", "\"SEQ_CLS\"", "'task_type' is 'SEQ_CLS'" },
        { "bias", "\"all\"", "'bias' is 'all'; only none" },
        { "use_dora", "true", "DoRA" },
        { "fan_in_fan_out", "true", "'fan_in_fan_out'" },
        { "modules_to_save", "[\"lm_head\"]", "'modules_to_save': modules saved whole" },
        { "rank_pattern", "{\"q_proj\":4}", "'rank_pattern'" },
        { "alpha_pattern", "{\"q_proj\":4}", "'alpha_pattern'" },
        { "layers_to_transform", "[0]", "'layers_to_transform'" },
        { "layers_to_transform", "0", "'layers_to_transform'" },
        { "lora_bias", "true", "'lora_bias'" },
        { "alora_invocation_tokens", "[1]", "invocation token" },
        { "something_new", "{\"a\":1}", "'something_new' is a setting that LongCtx does not know" },
        { "init_lora_weights", "\"pissa_niter_4\"", "changes the model's own weights" },
        { "r", "0", "'r' is 0; 1 to 256" },
        { "r", "257", "'r' is 257; 1 to 256" },
        { "r", "1e300", "'r' must be an integer" },
        { "r", "5", "where this model and the rank need [5, 32]" },
        { "lora_alpha", "-1", "'lora_alpha' is -1" },
        { "lora_alpha", "null", "'lora_alpha' is missing" },
        { "target_modules", "[]", "'target_modules' names no module" },
        { "target_modules", "null", "'target_modules' names no module" },
        { "target_modules", "[\"q_proj\",\"lm_head\"]", "names 'lm_head', which is no projection" },
        { "target_modules", "[\"model.layers.0.self_attn.q_proj\"]", "which is no projection of every layer" },
        { "target_modules", "[\"mlp.q_proj\"]", "names 'mlp.q_proj'" },
        { "target_modules", "\".*proj\"", "'target_modules' is a pattern" },
        { "target_modules", "[1]", "must be a string" },
        { "target_modules", "[\"q_proj\"]", "lora_A.weight', but adapter_config.json does not speak of it" },
    };

    [Theory]
    [MemberData(nameof(RefusedSettings))]
    public void Read_SettingThatIsNotHonoured_IsRefused(string key, string value, string problem)
    {
        LoraWeights weights = PeftAdapter.Random(Model, 6);
        JsonObject config = PeftAdapter.Config(weights);
        config[key] = JsonNode.Parse(value);
        Refused(config, PeftAdapter.Tensors(weights), problem);
    }

    [Fact]
    public void Read_TensorsThatDoNotFit_AreRefused()
    {
        LoraWeights weights = PeftAdapter.Random(Model, 7);
        JsonObject config = PeftAdapter.Config(weights);
        List<TestTensor> tensors = PeftAdapter.Tensors(weights);
        string last = tensors[^1].Name;

        Refused(config, tensors.SkipLast(1), $"tensor '{last}' is missing");
        Refused(config, [.. tensors, TestTensor.Random("base_model.model.lm_head.lora_A.weight", TensorType.F32, [4, 32], new(1))], "lm_head.lora_A.weight', but adapter_config.json does not speak of it");
        Refused(config, [.. tensors, tensors[0] with { Name = tensors[0].Name.Replace(".layers.0.", ".layers.2.") }], "the model has 2 layers: the adapter was made for another model");
        Refused(config, [.. tensors.SkipLast(1), tensors[^1] with { Shape = [4, 32] }], "is [4, 32] where this model and the rank need [32, 4]");
        Refused(config, tensors.Take(tensors.Count / 2), "is missing");
        PeftAdapter.Write(_directory, config, tensors);
        Assert.Contains("the model has 1 layers", Assert.Throws<ModelFileException>(() => PeftDirectory.Read(_directory.Path, Model with { LayerCount = 1 })).Message);
        foreach (float bad in (float[])[float.NaN, float.PositiveInfinity])
        {
            float[] numbers = weights.B(1, LoraTargets.Down).ToArray();
            numbers[^1] = bad;
            foreach (TensorType type in (TensorType[])[TensorType.F32, TensorType.F16, TensorType.BF16])
                Refused(config, [.. tensors.SkipLast(1), TestTensor.Of(last, type, [32, 4], numbers)], "holds a number that is not finite");
        }
    }

    [Fact]
    public void Read_RandomlyDamagedDirectory_IsRefusedOrConsistent()
    {
        const int seed = 20261121, rounds = 3000;
        LoraWeights weights = PeftAdapter.Random(Model, 8, rank: 2);
        byte[] config = Encoding.UTF8.GetBytes(PeftAdapter.Config(weights).ToJsonString()), tensors = SafetensorsWriter.Write(PeftAdapter.Tensors(weights, TensorType.F16));
        (string Name, byte[] Content, int Range)[] files = [("adapter_config.json", config, config.Length), ("adapter_model.safetensors", tensors, tensors.Length)];
        foreach ((string name, byte[] content, _) in files) _directory.Write(name, content);
        Assert.Null(Hostile.OpenAdapter(_directory.Path, Model, "whole"));

        var random = new Random(seed);
        int refused = 0;
        for (int round = 0; round < rounds; round++)
        {
            (string name, byte[] content, int range) = files[round % files.Length];
            bool cut = random.Next(8) == 0;
            _directory.Write(name, cut ? content.AsSpan(0, random.Next(content.Length)) : Hostile.Mutate(content, range, random));
            if (Hostile.OpenAdapter(_directory.Path, Model, $"seed {seed}, round {round}, {name}") is not null) refused++;
            _directory.Write(name, content);
        }

        Assert.InRange(refused, rounds / 2, rounds - 1);
    }

    void Refused(JsonObject config, IEnumerable<TestTensor> tensors, string problem)
    {
        ModelFileException e = Assert.Throws<ModelFileException>(() => PeftDirectory.Read(PeftAdapter.Write(_directory, config, tensors), Model));
        Assert.Contains(problem, e.Message);
        Assert.StartsWith(_directory.Path, e.File, StringComparison.Ordinal);
    }
}
