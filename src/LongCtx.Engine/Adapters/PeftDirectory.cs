using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Adapters;

/// <summary>
/// Adapters as Hugging Face PEFT saves them: a directory with adapter_config.json and adapter_model.safetensors. Rows of q and k are in
/// the half-split order there as they are in the engine, whatever order the model's own file has.
/// </summary>
public static class PeftDirectory
{
    const string WeightsName = "adapter_model.safetensors";

    /// <summary>Reads an adapter for a model of that shape.</summary>
    /// <exception cref="ModelFileException">It cannot be read, is damaged, does not fit the model, or asks for something that is not supported.</exception>
    public static LoraWeights Read(string directory, DecoderConfig model)
    {
        LoraLayout layout = PeftConfig.Read(Path.Combine(directory, PeftConfig.FileName), model);
        using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(directory, WeightsName));
        CheckTensors(file, layout);
        var weights = new LoraWeights(layout); // after the checks: its size is in proportion to the file's now
        for (int layer = 0; layer < model.LayerCount; layer++)
            foreach (LoraTargets target in layout.PresentTargets)
            {
                Fill(file, PeftModules.TensorName(layer, target, 'A'), weights.A(layer, target));
                Fill(file, PeftModules.TensorName(layer, target, 'B'), weights.B(layer, target));
            }

        return weights;
    }

    /// <summary>Exactly the tensors that the layout has, in its shapes.</summary>
    static void CheckTensors(SafetensorsFile file, LoraLayout layout)
    {
        int expected = 0;
        for (int layer = 0; layer < layout.Config.LayerCount; layer++)
            foreach (LoraTargets target in layout.PresentTargets)
            {
                Require(file, PeftModules.TensorName(layer, target, 'A'), layout.Rank, layout.Inputs(target));
                Require(file, PeftModules.TensorName(layer, target, 'B'), layout.Outputs(target), layout.Rank);
                expected += 2;
            }

        if (file.Tensors.Count + file.Unsupported.Count == expected) return;
        var known = new HashSet<string>(
            from layer in Enumerable.Range(0, layout.Config.LayerCount)
            from target in layout.PresentTargets
            from matrix in "AB"
            select PeftModules.TensorName(layer, target, matrix), StringComparer.Ordinal);
        string unknown = file.Tensors.Keys.Concat(file.Unsupported.Keys).First(name => !known.Contains(name));
        string why = PeftModules.LayerOf(unknown) is { } beyond && beyond >= layout.Config.LayerCount
            ? $"the model has {layout.Config.LayerCount} layers: the adapter was made for another model"
            : $"{PeftConfig.FileName} does not speak of it: the two files do not belong together, or it needs something that is not supported";
        throw new ModelFileException(file.Path, 0, $"holds the tensor '{(unknown.Length <= 120 ? unknown : unknown[..120] + "...")}', but {why}");
    }

    static void Require(SafetensorsFile file, string name, int rows, int columns)
    {
        TensorInfo tensor = file.Require(name);
        if (tensor.Shape is [long r, long c] && r == rows && c == columns) return;
        throw new ModelFileException(file.Path, tensor.Offset, $"tensor '{name}' is {tensor.ShapeText} where this model and the rank need [{rows}, {columns}]: the adapter was made for another model or rank");
    }

    static void Fill(SafetensorsFile file, string name, Span<float> numbers)
    {
        TensorInfo tensor = file.Require(name);
        Dequantizer.ToFloat32(tensor.Type, file.Bytes(tensor), numbers);
        foreach (float x in numbers)
            if (!float.IsFinite(x)) throw new ModelFileException(file.Path, tensor.Offset, $"tensor '{name}' holds a number that is not finite: the training that made it diverged");
    }

    /// <summary>Writes an adapter in float32, as PEFT itself would; files that are there are replaced.</summary>
    /// <param name="weights">Not to change meanwhile.</param>
    /// <param name="directory">Made if it does not exist.</param>
    /// <param name="baseModel">What PEFT is to load it on top of: a name or a path.</param>
    /// <exception cref="IOException">It cannot be written.</exception>
    public static void Write(LoraWeights weights, string directory, string baseModel)
    {
        Directory.CreateDirectory(directory);
        Replace(Path.Combine(directory, WeightsName), stream => WriteTensors(weights, stream));
        Replace(Path.Combine(directory, PeftConfig.FileName), stream => stream.Write(Encoding.UTF8.GetBytes(ConfigText(weights.Layout, baseModel))));
    }

    static void WriteTensors(LoraWeights weights, Stream stream)
    {
        LoraLayout layout = weights.Layout;
        stream.Write(SafetensorsHeaderWriter.Write([new("format", "pt")], Entries(layout)));
        for (int layer = 0; layer < layout.Config.LayerCount; layer++)
            foreach (LoraTargets target in layout.PresentTargets)
            {
                stream.Write(MemoryMarshal.AsBytes(weights.A(layer, target)));
                stream.Write(MemoryMarshal.AsBytes(weights.B(layer, target)));
            }
    }

    /// <summary>The tensors as PEFT names them, in the order in which the layout places their numbers.</summary>
    internal static IEnumerable<TensorEntry> Entries(LoraLayout layout)
    {
        for (int layer = 0; layer < layout.Config.LayerCount; layer++)
            foreach (LoraTargets target in layout.PresentTargets)
            {
                long rank = layout.Rank, inputs = layout.Inputs(target), outputs = layout.Outputs(target);
                yield return new(PeftModules.TensorName(layer, target, 'A'), "F32", [rank, inputs], rank * inputs * sizeof(float));
                yield return new(PeftModules.TensorName(layer, target, 'B'), "F32", [outputs, rank], outputs * rank * sizeof(float));
            }
    }

    /// <summary>adapter_config.json</summary>
    internal static string ConfigText(LoraLayout layout, string baseModel)
    {
        using var text = new MemoryStream();
        using (var json = new Utf8JsonWriter(text, new() { Indented = true }))
        {
            json.WriteStartObject();
            json.WriteString("peft_type", "LORA");
            json.WriteString("task_type", "CAUSAL_LM");
            json.WriteString("base_model_name_or_path", baseModel);
            json.WriteNumber("r", layout.Rank);
            json.WriteNumber("lora_alpha", layout.Alpha);
            json.WriteNumber("lora_dropout", 0.0);
            json.WriteStartArray("target_modules");
            foreach (LoraTargets target in layout.PresentTargets) json.WriteStringValue(PeftModules.NameOf(target));
            json.WriteEndArray();
            json.WriteString("bias", "none");
            json.WriteBoolean("fan_in_fan_out", false);
            json.WriteBoolean("use_rslora", false);
            json.WriteBoolean("inference_mode", true);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(text.GetBuffer().AsSpan(0, (int)text.Length));
    }

    static void Replace(string path, Action<Stream> write)
    {
        string temporary = path + ".tmp";
        using (FileStream stream = new(temporary, FileMode.Create, FileAccess.Write, FileShare.None)) write(stream);
        File.Move(temporary, path, overwrite: true);
    }
}
