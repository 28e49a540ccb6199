using LongCtx.Engine.Adapters;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;

namespace LongCtx.Engine.Tests.Files;

/// <summary>What must hold for any bytes whatsoever: a model, or a <see cref="ModelFileException"/> that names a file; memory in proportion.</summary>
internal static class Hostile
{
    /// <summary>Bytes allocated per byte of all files read; UTF-16, dictionaries and JSON's token table are inside.</summary>
    const long AllocationFactor = 64;

    /// <summary>What opening costs whatever the size: handles, maps, an exception with its stack trace.</summary>
    const long AllocationBase = 512 << 10;

    /// <summary>Opens a model as a server would and touches every tensor; null means it was good.</summary>
    public static ModelFileException? OpenModel(string path, string context) => Measure(path, context, () =>
    {
        using ModelSource source = ModelSource.Open(path);
        Touch(source.File);
        _ = (source.ParameterCount, source.Quantization, source.Decoder?.RopeFrequencies(64));
    });

    public static ModelFileException? OpenGguf(string path, string context) => Measure(path, context, () =>
    {
        using GgufFile file = GgufFile.Open(path);
        Touch(file);
    });

    public static ModelFileException? OpenSafetensors(string path, string context) => Measure(path, context, () =>
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Touch(file);
    });

    /// <summary>Reads a PEFT directory for a model; what is good has numbers that are finite.</summary>
    public static ModelFileException? OpenAdapter(string path, DecoderConfig model, string context) => Measure(path, context, () =>
    {
        LoraWeights weights = PeftDirectory.Read(path, model);
        for (int layer = 0; layer < model.LayerCount; layer++)
            foreach (LoraTargets target in weights.Layout.PresentTargets)
                foreach (float x in weights.B(layer, target)) Assert.True(float.IsFinite(x), context);
    });

    static ModelFileException? Measure(string path, string context, Action open)
    {
        long length = Directory.Exists(path)
            ? new DirectoryInfo(path).EnumerateFiles("*", SearchOption.AllDirectories).Sum(f => f.Length)
            : new FileInfo(path).Length;
        ModelFileException? refusal = null;
        long before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            open();
        }
        catch (ModelFileException e)
        {
            refusal = e;
        }
        catch (Exception e)
        {
            Assert.Fail($"{context}: {e}");
        }

        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(allocated <= AllocationBase + AllocationFactor * length, $"{context}: {allocated} bytes allocated for a file of {length}; {refusal?.Message}");
        if (refusal is not null)
        {
            string root = Directory.Exists(path) ? path : Path.GetDirectoryName(path)!;
            Assert.StartsWith(root, refusal.File, StringComparison.Ordinal);
            Assert.Contains(refusal.File, refusal.Message);
            Assert.True(refusal.Offset >= 0 && refusal.Offset <= Math.Max(length, 1), $"{context}: offset {refusal.Offset} of {length}");
            Assert.NotEmpty(refusal.Problem);
        }

        return refusal;
    }

    /// <summary>Reads first and last byte of every tensor: outside the map this would end the process.</summary>
    static unsafe void Touch(ModelFile file)
    {
        int sum = 0;
        foreach (TensorInfo tensor in file.Tensors.Values)
            if (tensor.ByteLength > 0) sum += file.Data(tensor)[0] + file.Data(tensor)[tensor.ByteLength - 1];
        GC.KeepAlive(sum);
    }

    /// <summary>One to four random changes in the first <paramref name="range"/> bytes: a bit, a byte, or eight bytes of ones or zeros.</summary>
    public static byte[] Mutate(ReadOnlySpan<byte> original, int range, Random random)
    {
        byte[] mutated = original.ToArray();
        for (int change = random.Next(1, 5); change > 0; change--)
        {
            int at = random.Next(range);
            switch (random.Next(4))
            {
                case 0: mutated[at] = (byte)random.Next(256); break;
                case 1: mutated.AsSpan(at, Math.Min(8, range - at)).Fill((byte)(random.Next(2) * 255)); break;
                default: mutated[at] ^= (byte)(1 << random.Next(8)); break;
            }
        }

        return mutated;
    }
}
