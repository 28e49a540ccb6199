namespace LongCtx.Cli.Bench;

/// <summary>What was measured did not do what it must: there is no figure then.</summary>
internal sealed class CheckFailedException(string message) : Exception(message)
{
    public static void Require(bool holds, string otherwise)
    {
        if (!holds) throw new CheckFailedException(otherwise);
    }
}
