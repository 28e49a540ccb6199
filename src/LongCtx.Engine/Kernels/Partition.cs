namespace LongCtx.Engine.Kernels;

/// <summary>Cuts panels x tokens into parts that are worth a hand-over to another thread, a few per thread so that they end together.</summary>
internal readonly struct Partition
{
    const int PartsPerThread = 4;
    const long SmallestPartBytes = 48 << 10; // about a microsecond of streaming weights
    const int TokensPerPart = 256;           // a token block's activations stay in the second-level cache while panels pass

    readonly int _tokens, _tokensPerPart, _panels, _panelsPerPart, _panelParts;

    Partition(int tokens, int tokensPerPart, int panels, int panelsPerPart)
    {
        _tokens = tokens;
        _tokensPerPart = tokensPerPart;
        _panels = panels;
        _panelsPerPart = panelsPerPart;
        _panelParts = (panels + panelsPerPart - 1) / panelsPerPart;
        Parts = _panelParts * ((tokens + tokensPerPart - 1) / tokensPerPart);
    }

    public int Parts { get; }

    public static Partition For(PackedMatrix w, int tokens, int threads)
    {
        if (tokens == 0) return default;
        int tokensPerPart = Math.Min(tokens, TokensPerPart);
        long worthwhile = (long)w.Bytes * tokensPerPart / SmallestPartBytes;
        long panelParts = Math.Clamp(worthwhile, 1, (long)threads * PartsPerThread);
        if (panelParts > threads) panelParts -= panelParts % threads; // equal parts end together only if every thread gets as many
        long panelsPerPart = (w.PanelCount + panelParts - 1) / panelParts;
        if ((w.Forms & ActivationForms.Float) == ActivationForms.Float) panelsPerPart = (panelsPerPart + 3) & ~3L; // float kernels take up to 4 at once
        return new Partition(tokens, tokensPerPart, w.PanelCount, (int)Math.Min(panelsPerPart, w.PanelCount));
    }

    public void Part(int part, out int firstToken, out int tokens, out int firstPanel, out int panels)
    {
        firstToken = part / _panelParts * _tokensPerPart;
        tokens = Math.Min(_tokensPerPart, _tokens - firstToken);
        firstPanel = part % _panelParts * _panelsPerPart;
        panels = Math.Min(_panelsPerPart, _panels - firstPanel);
    }
}
