namespace LongCtx.Cli.Tests;

public sealed class InterruptTests
{
    [Fact]
    public void Raise_Captured_GoesToTheHandlerAndAfterwardsEndsTheProgram()
    {
        using var interrupt = new Interrupt();
        int stopped = 0;
        using (interrupt.Capture(() => stopped++)) interrupt.Raise();
        Assert.Equal(1, stopped);
        Assert.False(interrupt.Program.IsCancellationRequested);
        interrupt.Raise();
        Assert.Equal(1, stopped);
        Assert.True(interrupt.Program.IsCancellationRequested);
    }

    [Fact]
    public void Raise_CapturedTwice_GoesToTheInnerOneFirst()
    {
        using var interrupt = new Interrupt();
        var heard = new List<string>();
        using (interrupt.Capture(() => heard.Add("outer")))
        {
            using (interrupt.Capture(() => heard.Add("inner"))) interrupt.Raise();
            interrupt.Raise();
        }

        Assert.Equal(["inner", "outer"], heard);
    }
}
