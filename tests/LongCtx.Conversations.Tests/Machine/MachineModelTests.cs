using FsCheck;
using FsCheck.Fluent;

namespace LongCtx.Conversations.Tests;

/// <summary>Random lives of a conversation: requests, crashes, second owners, lost replies, forks. FsCheck prints the seed of a failure and shrinks its script.</summary>
public sealed class MachineModelTests
{
    static readonly Arbitrary<(Happening What, int N)[]> s_scripts = Arb.From(
        from steps in (
            from what in Gen.Frequency(
                (6, Gen.Constant(Happening.Store)), (4, Gen.Constant(Happening.Token)), (3, Gen.Constant(Happening.Submit)),
                (2, Gen.Constant(Happening.Tokens)), (2, Gen.Constant(Happening.End)), (6, Gen.Elements(Enum.GetValues<Happening>())))
            from n in Gen.Choose(0, 10_000)
            select (what, n)).ArrayOf()
        select steps, Shorter);

    [Fact]
    public void KeepsItsPromises() => Prop.ForAll(s_scripts, Live).Check(Config.QuickThrowOnFailure.WithMaxTest(400).WithEndSize(120));

    /// <summary>Without its end, its beginning, or one step.</summary>
    static IEnumerable<(Happening What, int N)[]> Shorter((Happening What, int N)[] script)
    {
        if (script.Length > 1)
        {
            yield return script[..(script.Length / 2)];
            yield return script[(script.Length / 2)..];
        }

        for (int i = 0; i < script.Length; i++) yield return [.. script[..i], .. script[(i + 1)..]];
    }

    static void Live((Happening What, int N)[] script)
    {
        var world = new World();
        foreach ((Happening what, int n) in script) world.Do(what, n);
        world.Finish();
    }
}
