namespace LongCtx.Engine.Kernels;

/// <summary>
/// A few panels of float weights times a few tokens. Every kernel computes, for each output, exactly
/// <code>y = 0; for each column k, ascending:  y = fma(w[k], x[k], y)</code>
/// </summary>
internal unsafe struct FloatTile
{
    public byte* Panels;
    public nint PanelBytes;

    /// <summary>Panels there are; a kernel for more computes the last one again into rows that nobody reads.</summary>
    public int PanelCount;

    /// <summary>Pairs of columns.</summary>
    public int Pairs;

    /// <summary>Column 0 of the first token, shifted to its slot; the next four tokens of a tile of 8 are in <see cref="X1"/>.</summary>
    public byte* X, X1;

    public float* Y;
    public nint YStride;
    public bool Accumulate;

    public readonly byte* Panel(int i) => Panels + Math.Min(i, PanelCount - 1) * PanelBytes;
}

internal unsafe interface IFloatKernel
{
    /// <summary>Panels of <see cref="Tile1"/>: enough independent sums to hide the latency of an addition.</summary>
    static abstract int SinglePanels { get; }

    /// <summary>Panels of <see cref="Tile4"/> and <see cref="Tile8"/>.</summary>
    static abstract int TilePanels { get; }

    /// <summary>Tokens of the largest tile: 4 or 8.</summary>
    static abstract int MaxTokens { get; }

    static abstract void Tile1(in FloatTile tile);

    static abstract void Tile4(in FloatTile tile);

    static abstract void Tile8(in FloatTile tile);

    /// <summary>Converts a panel to f32.</summary>
    static abstract void Widen(byte* panel, int pairs, float* wide);
}

/// <summary>A range of panels and tokens, cut into tiles.</summary>
internal unsafe struct FloatRange
{
    public byte* Panels;
    public nint PanelBytes;
    public int PanelCount;

    /// <summary>Rows of the range; the last panel may hold fewer than 16.</summary>
    public int Rows;

    public int Pairs;
    public byte* X;
    public nint XGroupBytes;
    public int FirstToken, TokenCount;

    /// <summary>Output of the first row and the first token of the range.</summary>
    public float* Y;

    public nint YStride;
    public bool Accumulate;

    /// <summary>Room for the f32 form of <see cref="MaxTilePanels"/> panels.</summary>
    public byte* Scratch;

    public const int MaxTilePanels = 2;
    const int MaxSinglePanels = 4;
    const int WidenFrom = 16; // tokens from which converting a panel costs less than converting it again for every tile

    public readonly bool WantsScratch => TokenCount >= WidenFrom;

    public readonly nint WideBytes => (nint)Pairs * 128;

    public readonly void Run<TKernel, TWide>() where TKernel : struct, IFloatKernel where TWide : struct, IFloatKernel
    {
        int end = FirstToken + TokenCount;
        int tilesFrom = Math.Min(end, (FirstToken + 3) & ~3), tilesTo = Math.Max(tilesFrom, end & ~3);
        if (tilesTo > tilesFrom)
            for (int p = 0; p < PanelCount; p += TKernel.TilePanels)
            {
                int panels = Math.Min(TKernel.TilePanels, PanelCount - p);
                byte* panel = Panels + p * PanelBytes;
                if (WantsScratch && typeof(TKernel) != typeof(TWide))
                {
                    for (int i = 0; i < panels; i++) TKernel.Widen(panel + i * PanelBytes, Pairs, (float*)(Scratch + i * WideBytes));
                    Tiles<TWide>(Scratch, WideBytes, p, panels, tilesFrom, tilesTo);
                }
                else Tiles<TKernel>(panel, PanelBytes, p, panels, tilesFrom, tilesTo);
            }
        Singles<TKernel>(FirstToken, tilesFrom);
        Singles<TKernel>(tilesTo, end);
    }

    readonly void Tiles<TKernel>(byte* panel, nint panelBytes, int firstPanel, int panels, int from, int to) where TKernel : struct, IFloatKernel
    {
        float* partial = stackalloc float[8 * MaxTilePanels * PanelLayout.Rows];
        FloatTile tile = Tile(panel, panelBytes, firstPanel, panels, TKernel.TilePanels, partial, out bool whole, out int rows);
        int tokens;
        for (int t = from; t < to; t += tokens)
        {
            tokens = TKernel.MaxTokens == 8 && to - t >= 8 ? 8 : 4;
            tile.X = X + t / Activations.GroupTokens * XGroupBytes;
            tile.X1 = tile.X + XGroupBytes;
            float* y = Y + (t - FirstToken) * YStride + firstPanel * PanelLayout.Rows;
            if (whole) tile.Y = y;
            if (tokens == 8) TKernel.Tile8(tile);
            else TKernel.Tile4(tile);
            if (!whole) CopyRows(tile, y, tokens, rows);
        }
    }

    readonly void Singles<TKernel>(int from, int to) where TKernel : struct, IFloatKernel
    {
        float* partial = stackalloc float[MaxSinglePanels * PanelLayout.Rows];
        if (from < to)
            for (int p = 0; p < PanelCount; p += TKernel.SinglePanels)
            {
                int panels = Math.Min(TKernel.SinglePanels, PanelCount - p);
                FloatTile tile = Tile(Panels + p * PanelBytes, PanelBytes, p, panels, TKernel.SinglePanels, partial, out bool whole, out int rows);
                for (int t = from; t < to; t++)
                {
                    tile.X = X + t / Activations.GroupTokens * XGroupBytes + 4 * (t % Activations.GroupTokens);
                    float* y = Y + (t - FirstToken) * YStride + p * PanelLayout.Rows;
                    if (whole) tile.Y = y;
                    TKernel.Tile1(tile);
                    if (!whole) CopyRows(tile, y, 1, rows);
                }
            }
    }

    /// <summary>A tile whose outputs go to y directly or, when it does not have all rows, by way of <paramref name="partial"/>.</summary>
    readonly FloatTile Tile(byte* panel, nint panelBytes, int firstPanel, int panels, int kernelPanels, float* partial, out bool whole, out int rows)
    {
        rows = Math.Min(panels * PanelLayout.Rows, Rows - firstPanel * PanelLayout.Rows);
        whole = rows == kernelPanels * PanelLayout.Rows;
        return new FloatTile
        {
            Panels = panel,
            PanelCount = panels,
            PanelBytes = panelBytes,
            Pairs = Pairs,
            Y = partial,
            YStride = whole ? YStride : kernelPanels * PanelLayout.Rows,
            Accumulate = whole && Accumulate,
        };
    }

    readonly void CopyRows(in FloatTile from, float* to, int tokens, int rows)
    {
        for (int t = 0; t < tokens; t++)
            for (int r = 0; r < rows; r++)
            {
                float value = from.Y[t * from.YStride + r];
                to[t * YStride + r] = Accumulate ? to[t * YStride + r] + value : value;
            }
    }
}
