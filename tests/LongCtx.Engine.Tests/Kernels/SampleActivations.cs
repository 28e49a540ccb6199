using LongCtx.Engine.Files;
using LongCtx.Engine.Kernels;

namespace LongCtx.Engine.Tests.Kernels;

/// <summary>Random tokens, loaded, and what they look like after quantisation by the formula.</summary>
internal sealed unsafe class SampleActivations : IDisposable
{
    readonly int _tokens, _cols;

    public SampleActivations(int tokens, int cols, ActivationForms forms, int seed)
    {
        (_tokens, _cols) = (tokens, cols);
        var random = new Random(seed);
        Values = new float[tokens * cols];
        for (int i = 0; i < Values.Length; i++)
            Values[i] = i / 32 % 11 == 3 ? 0 : (float)((random.NextDouble() - 0.5) * Math.Exp(random.NextDouble() * 4 - 2));
        Loaded = new Activations(tokens, cols, forms);
        fixed (float* x = Values) Loaded.Load(x, cols, 0, tokens);
    }

    public float[] Values { get; }

    public Activations Loaded { get; }

    /// <summary>The numbers that a matrix of some type meets: rounded to multiples of max|x| / 127 of 32 columns, or x itself.</summary>
    public double[] Seen(TensorType type)
    {
        var seen = new double[Values.Length];
        for (int i = 0; i < Values.Length; i++) seen[i] = Values[i];
        if (type.IsFloat()) return seen;
        for (int block = 0; block < Values.Length; block += 32)
        {
            float max = 0;
            for (int i = 0; i < 32; i++) max = Math.Max(max, Math.Abs(Values[block + i]));
            for (int i = 0; i < 32; i++)
                seen[block + i] = max == 0 ? 0 : (double)MathF.Round(Values[block + i] * (127f / max), MidpointRounding.ToEven) * (max / 127f);
        }
        return seen;
    }

    public void Dispose() => Loaded.Dispose();
}
