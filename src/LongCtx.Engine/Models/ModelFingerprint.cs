using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using LongCtx.Engine.Files;

namespace LongCtx.Engine.Models;

/// <summary>
/// Tells models apart without reading gigabytes: SHA-256 over the configuration, the rotary frequencies, and for every tensor its name, type,
/// shape and three samples of its bytes (beginning, middle, end). Training and requantising change every tensor that they touch nearly everywhere,
/// so that another model shows; a change of a few single weights between the samples does not.
/// </summary>
internal static class ModelFingerprint
{
    const int SampleBytes = 2048;

    /// <summary>64 digits, the same wherever the files lie.</summary>
    public static unsafe string Of(ModelSource source)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        DecoderConfig config = source.Decoder!;
        RopeFrequencies rope = config.RopeFrequencies(config.TrainedLength);
        AddText(hash, $"{source.Format} {config}");
        hash.AppendData(MemoryMarshal.AsBytes(rope.InverseFrequencies.AsSpan()));
        AddText(hash, rope.AttentionScale.ToString("R", System.Globalization.CultureInfo.InvariantCulture));
        foreach (TensorInfo tensor in source.File.Tensors.Values.OrderBy(t => t.Name, StringComparer.Ordinal))
        {
            AddText(hash, $"{tensor.Name} {tensor.Type} {tensor.ShapeText}");
            byte* data = source.File.Data(tensor);
            int sample = (int)Math.Min(SampleBytes, tensor.ByteLength);
            long last = tensor.ByteLength - sample;
            foreach (long at in (ReadOnlySpan<long>)[0, last / 2, last]) hash.AppendData(new ReadOnlySpan<byte>(data + at, sample));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    static void AddText(IncrementalHash hash, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        Span<byte> length = stackalloc byte[sizeof(int)]; // so that two texts in a row cannot be taken for other two
        BinaryPrimitives.WriteInt32LittleEndian(length, bytes.Length);
        hash.AppendData(length);
        hash.AppendData(bytes);
    }
}
