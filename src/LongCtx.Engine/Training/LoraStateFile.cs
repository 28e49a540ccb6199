using System.Globalization;
using System.Text.Json;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Training;

/// <summary>
/// A temporary adapter as it is stored: a safetensors file with the tensors of a PEFT adapter, then what the optimiser remembers, so that training goes on
/// as if it had never stopped. It is read for the model that it was trained on, or refused.
/// </summary>
public static unsafe class LoraStateFile
{
    const string Format = "longctx.lora", Version = "1", FirstMoment = "first_moment", SecondMoment = "second_moment";

    /// <summary>More than the longest header of the deepest model.</summary>
    const int HeaderBytesMax = 4 << 20;

    /// <param name="state">Not to change meanwhile; nobody does.</param>
    /// <param name="model">Fingerprint of the model that it was trained on.</param>
    /// <param name="name">What PEFT is told to load it on top of.</param>
    public static byte[] Write(LoraState state, string model, string name)
    {
        LoraLayout layout = state.Layout;
        List<KeyValuePair<string, string>> metadata =
        [
            new("format", Format), new("version", Version), new("model", model), new("digest", state.Weights.Digest),
            new("seed", Text(state.Seed)), new("steps", Text(state.Steps)), new("chunks", Text(state.Chunks)),
            new("peft_config", PeftDirectory.ConfigText(layout, name)),
            new("rank", Text(layout.Rank)), new("alpha", layout.Alpha.ToString("R", CultureInfo.InvariantCulture)), new("targets", Text((int)layout.Targets)),
        ];
        long bytes = layout.Count * sizeof(float);
        byte[] header = SafetensorsHeaderWriter.Write(metadata,
            [.. PeftDirectory.Entries(layout), new(FirstMoment, "F32", [layout.Count], bytes), new(SecondMoment, "F32", [layout.Count], bytes)]);
        var file = new byte[checked(header.Length + 3 * bytes)];
        header.CopyTo(file, 0);
        var numbers = file.AsSpan(header.Length);
        foreach (LoraWeights part in (LoraWeights[])[state.Weights, state.FirstMoment, state.SecondMoment])
        {
            new ReadOnlySpan<byte>(part.Pointer, checked((int)bytes)).CopyTo(numbers);
            GC.KeepAlive(part);
            numbers = numbers[(int)bytes..];
        }

        return file;
    }

    /// <param name="file">Of <see cref="Write"/>.</param>
    /// <param name="config">Of the model.</param>
    /// <param name="model">Its fingerprint.</param>
    /// <param name="digest">Of the version that it must be.</param>
    /// <exception cref="InvalidDataException">It is another one's, or damaged.</exception>
    public static LoraState Read(ReadOnlySpan<byte> file, DecoderConfig config, string model, string digest)
    {
        (JsonElement metadata, int start) = ReadHeader(file);
        if (Field(metadata, "model") != model) throw new InvalidDataException("the adapter was trained on another model");
        LoraLayout layout;
        try
        {
            layout = new(config, (int)Number(metadata, "rank"), double.Parse(Field(metadata, "alpha"), CultureInfo.InvariantCulture), (LoraTargets)Number(metadata, "targets"));
        }
        catch (Exception e) when (e is ArgumentException or FormatException)
        {
            throw new InvalidDataException("the adapter's shape is damaged: " + e.Message, e);
        }

        long bytes = layout.Count * sizeof(float);
        if (file.Length != start + 3 * bytes) throw new InvalidDataException($"the adapter's state has {file.Length} bytes instead of {start + 3 * bytes}");
        LoraWeights[] parts = [new(layout), new(layout), new(layout)];
        for (int i = 0; i < parts.Length; i++) file.Slice(checked((int)(start + i * bytes)), (int)bytes).CopyTo(new Span<byte>(parts[i].Pointer, (int)bytes));
        foreach (LoraWeights part in parts)
            foreach (float number in new ReadOnlySpan<float>(part.Pointer, checked((int)layout.Count)))
                if (!float.IsFinite(number)) throw new InvalidDataException("the adapter's state holds a number that is not finite");
        if (parts[0].Digest != digest) throw new InvalidDataException($"the adapter's digest is {parts[0].Digest} instead of {digest}: its state is damaged, or another version's");
        return new(parts[0], parts[1], parts[2], (ulong)Number(metadata, "seed"), (long)Number(metadata, "steps"), (int)Number(metadata, "chunks"));
    }

    /// <summary>adapter_config.json and adapter_model.safetensors of a PEFT directory, from the bytes of a state alone.</summary>
    /// <exception cref="InvalidDataException">It is damaged.</exception>
    public static (byte[] Config, byte[] Weights) ToPeft(ReadOnlySpan<byte> file)
    {
        (JsonElement metadata, int start) = ReadHeader(file);
        List<TensorEntry> entries = [];
        using JsonDocument header = JsonDocument.Parse(file[8..start].ToArray());
        foreach (JsonProperty tensor in header.RootElement.EnumerateObject())
        {
            if (tensor.Name is "__metadata__" or FirstMoment or SecondMoment) continue;
            JsonElement offsets = tensor.Value.GetProperty("data_offsets");
            entries.Add(new(tensor.Name, "F32", [.. tensor.Value.GetProperty("shape").EnumerateArray().Select(n => n.GetInt64())], offsets[1].GetInt64() - offsets[0].GetInt64()));
        }

        long bytes = entries.Sum(e => e.ByteLength);
        if (start + bytes > file.Length) throw new InvalidDataException("the adapter's state is truncated");
        return (System.Text.Encoding.UTF8.GetBytes(Field(metadata, "peft_config")),
            [.. SafetensorsHeaderWriter.Write([new("format", "pt")], entries), .. file.Slice(start, checked((int)bytes))]);
    }

    static (JsonElement Metadata, int Start) ReadHeader(ReadOnlySpan<byte> file)
    {
        if (file.Length < 8 || System.Buffers.Binary.BinaryPrimitives.ReadInt64LittleEndian(file) is var length && (length is < 2 or > HeaderBytesMax || length > file.Length - 8))
            throw new InvalidDataException("the adapter's state has no header");
        try
        {
            using JsonDocument header = JsonDocument.Parse(file.Slice(8, (int)length).ToArray());
            JsonElement metadata = header.RootElement.GetProperty("__metadata__").Clone();
            if (Field(metadata, "format") != Format || Field(metadata, "version") != Version)
                throw new InvalidDataException($"it is no adapter's state of version {Version}: another version of LongCtx wrote it");
            return (metadata, (int)length + 8);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new InvalidDataException("the header of the adapter's state is damaged: " + e.Message, e);
        }
    }

    static string Field(JsonElement metadata, string name) =>
        metadata.ValueKind == JsonValueKind.Object && metadata.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()!
            : throw new InvalidDataException($"the adapter's state says no '{name}'");

    static decimal Number(JsonElement metadata, string name) =>
        decimal.TryParse(Field(metadata, name), NumberStyles.None, CultureInfo.InvariantCulture, out decimal number) && number <= ulong.MaxValue
            ? number
            : throw new InvalidDataException($"the adapter's state has no number in '{name}'");

    static string Text<T>(T number) where T : IFormattable => number.ToString(null, CultureInfo.InvariantCulture);
}
