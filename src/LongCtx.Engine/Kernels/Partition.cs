namespace LongCtx.Engine.Kernels;

/// <summary>Cuts panels (or units of several) x tokens into parts that are worth a hand-over to another thread, a few per thread so that they end together.</summary>
internal readonly struct Partition
{
    const int PartsPerThread = 4;
    const long SmallestPartBytes = 48 << 10;     // about a microsecond of streaming weights
    public const int TokensPerPart = 256;        // a token block's activations stay in the second-level cache while panels pass

    readonly int _tokens, _tokensPerPart, _units, _unitsPerPart, _unitParts;

    Partition(int tokens, int tokensPerPart, int units, int unitsPerPart)
    {
        _tokens = tokens;
        _tokensPerPart = tokensPerPart;
        _units = units;
        _unitsPerPart = unitsPerPart;
        _unitParts = (units + unitsPerPart - 1) / unitsPerPart;
        Parts = _unitParts * ((tokens + tokensPerPart - 1) / tokensPerPart);
    }

    public int Parts { get; }

    /// <summary>A matrix by panels.</summary>
    public static Partition For(PackedMatrix w, int tokens, int threads) =>
        For(w.PanelCount, (w.Forms & ActivationForms.Float) == ActivationForms.Float ? 4 : 1, w.Bytes, tokens, threads); // float kernels take up to 4 at once

    /// <summary><paramref name="units"/> equal shares of <paramref name="bytes"/> of weights.</summary>
    public static Partition For(int units, nuint bytes, int tokens, int threads) => For(units, 1, bytes, tokens, threads);

    static Partition For(int units, int multiple, nuint bytes, int tokens, int threads)
    {
        if (tokens == 0) return default;
        int tokensPerPart = Math.Min(tokens, TokensPerPart);
        long worthwhile = (long)bytes * tokensPerPart / SmallestPartBytes;
        long parts = Math.Clamp(worthwhile, 1, (long)threads * PartsPerThread);
        if (parts > threads) parts -= parts % threads; // equal parts end together only if every thread gets as many
        long unitsPerPart = ((units + parts - 1) / parts + multiple - 1) / multiple * multiple;
        return new Partition(tokens, tokensPerPart, units, (int)Math.Min(unitsPerPart, units));
    }

    public void Part(int part, out int firstToken, out int tokens, out int firstUnit, out int units)
    {
        firstToken = part / _unitParts * _tokensPerPart;
        tokens = Math.Min(_tokensPerPart, _tokens - firstToken);
        firstUnit = part % _unitParts * _unitsPerPart;
        units = Math.Min(_unitsPerPart, _units - firstUnit);
    }
}
