namespace LongCtx.Engine.Kernels;

/// <summary>
/// One panel of integer weights times up to 8 tokens. Every kernel computes, for each output, exactly
/// <code>
/// y = 0; for each block b, ascending:  y = fma((float)sum(code * int8), d * dx, y);  y = fma(m, dx * sum(int8), y)
/// </code>
/// (Q6_K: the same over its two halves, first both products, then both minima), so all agree to the bit: sums of integers are exact
/// in any order.
/// </summary>
internal unsafe struct IntTile
{
    /// <summary>Header and first block of the panel.</summary>
    public byte* Header, Panel;

    public int Blocks;

    /// <summary>Record of the first token, shifted to its slot; the next four tokens of a tile of 8 are in <see cref="X1"/>.</summary>
    public byte* X, X1;

    public float* Y;
    public nint YStride;
    public bool Accumulate;
}

internal unsafe interface IIntKernel
{
    /// <summary>Tokens of the largest tile: 4 or 8.</summary>
    static abstract int MaxTokens { get; }

    static abstract void Tile1(in IntTile tile);

    static abstract void Tile2(in IntTile tile);

    static abstract void Tile4(in IntTile tile);

    static abstract void Tile8(in IntTile tile);

    /// <summary>Expands a panel to wide blocks (<see cref="PanelLayout"/>).</summary>
    static abstract void Widen(byte* header, byte* panel, int blocks, byte* wide);
}

/// <summary>A range of panels and tokens, cut into tiles.</summary>
internal unsafe struct IntRange
{
    public byte* Panels;
    public nint PanelBytes;
    public int HeaderBytes;
    public int PanelCount;

    /// <summary>Rows of the range; the last panel may hold fewer than 16.</summary>
    public int Rows;

    public int Blocks;
    public byte* X;
    public nint XGroupBytes;
    public int FirstToken, TokenCount;

    /// <summary>Output of the first row and the first token of the range.</summary>
    public float* Y;

    public nint YStride;
    public bool Accumulate;

    /// <summary>Room for a wide panel.</summary>
    public byte* Scratch;

    const int WidenFrom = 24; // tokens from which expanding a panel costs less than decoding it again for every tile

    public readonly bool WantsScratch => TokenCount >= WidenFrom;

    public readonly void Run<TKernel, TWide>() where TKernel : struct, IIntKernel where TWide : struct, IIntKernel
    {
        for (int p = 0; p < PanelCount; p++)
        {
            byte* panel = Panels + p * PanelBytes;
            int rows = Math.Min(PanelLayout.Rows, Rows - p * PanelLayout.Rows);
            if (WantsScratch && typeof(TKernel) != typeof(TWide))
            {
                TKernel.Widen(panel, panel + HeaderBytes, Blocks, Scratch);
                Panel<TWide>(Scratch, Scratch, Y + p * PanelLayout.Rows, rows);
            }
            else Panel<TKernel>(panel, panel + HeaderBytes, Y + p * PanelLayout.Rows, rows);
        }
    }

    readonly void Panel<TKernel>(byte* header, byte* panel, float* y, int rows) where TKernel : struct, IIntKernel
    {
        float* partial = stackalloc float[8 * PanelLayout.Rows];
        var tile = new IntTile { Header = header, Panel = panel, Blocks = Blocks, Accumulate = Accumulate, YStride = YStride };
        bool whole = rows == PanelLayout.Rows;
        if (!whole)
        {
            tile.Accumulate = false;
            tile.YStride = PanelLayout.Rows;
        }
        int end = FirstToken + TokenCount, tokens;
        for (int t = FirstToken; t < end; t += tokens, y += tokens * YStride)
        {
            int slot = t % Activations.GroupTokens, left = end - t;
            tile.X = X + t / Activations.GroupTokens * XGroupBytes + 4 * slot;
            tile.X1 = tile.X + XGroupBytes;
            tile.Y = whole ? y : partial;
            if (slot == 0 && left >= 8 && TKernel.MaxTokens == 8) { tokens = 8; TKernel.Tile8(tile); }
            else if (slot == 0 && left >= 4) { tokens = 4; TKernel.Tile4(tile); }
            else if (slot % 2 == 0 && left >= 2) { tokens = 2; TKernel.Tile2(tile); }
            else { tokens = 1; TKernel.Tile1(tile); }
            if (!whole) CopyRows(partial, y, tokens, rows);
        }
    }

    readonly void CopyRows(float* from, float* to, int tokens, int rows)
    {
        for (int t = 0; t < tokens; t++)
            for (int r = 0; r < rows; r++)
            {
                float value = from[t * PanelLayout.Rows + r];
                to[t * YStride + r] = Accumulate ? to[t * YStride + r] + value : value;
            }
    }
}
