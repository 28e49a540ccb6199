namespace LongCtx.Engine.Templates;

/// <summary>Where a rendering is and what it may still do: a hostile template ends with an error, not with the machine's time or memory.</summary>
/// <param name="inputLength">Characters that went in: much text may take more work.</param>
internal sealed class Budget(long inputLength)
{
    /// <summary>Longest text that may arise, in UTF-16 units.</summary>
    public const int TextMax = 32 << 20;

    /// <summary>As in Jinja's sandbox.</summary>
    public const int RangeMax = 100_000;

    public const int CallDepthMax = 100;

    long _left = 10_000_000 + 4 * inputLength;

    public int Line { get; set; }

    /// <summary>Pays for steps of work; list elements made count as one each.</summary>
    public void Charge(long steps)
    {
        _left -= steps;
        if (_left < 0) throw Error("needs more steps than a chat template should; is there an endless loop?");
    }

    /// <summary>Pays for a text before it is built.</summary>
    public void ChargeText(long length)
    {
        if (length > TextMax) throw Error($"makes a text of more than {TextMax} characters");
        Charge(1 + length / 8);
    }

    public ChatTemplateException Error(string problem) => new(problem, Line);
}
