using System.Globalization;
using LongCtx.Storage.Sqlite.Tests.Child;

namespace LongCtx.Storage.Sqlite.Tests;

/// <summary>A process is killed in mid-append, again and again: what it had acknowledged is there, and nothing is there by halves.</summary>
public sealed class KillTests
{
    const int Writers = 8, Rounds = 6;

    [Theory]
    [InlineData(Durability.Relaxed)]
    [InlineData(Durability.Standard)]
    [InlineData(Durability.Strict)]
    public async Task Sigkill_InMidAppend_LosesNothingAcknowledged(Durability level)
    {
        int seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var random = new Random(seed);
        using TemporaryDirectory directory = new();
        ProbeJournal[] journals = [.. Enumerable.Range(0, Writers).Select(i => new ProbeJournal(i))];
        long[] acknowledged = new long[Writers];
        for (int round = 0; round < Rounds; round++)
        {
            int before = (int)acknowledged.Sum();
            await AppendUntilKilledAsync(directory.Path, level, random, acknowledged);
            Assert.True(acknowledged.Sum() > before, $"seed {seed}, round {round}: nothing was acknowledged");

            await using var store = await SqliteConversationStore.OpenAsync(new() { Directory = directory.Path, Durability = level }, TestContext.Current.CancellationToken);
            for (int i = 0; i < Writers; i++) await journals[i].VerifyAsync(store, acknowledged[i]);
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"{acknowledged.Sum()} events acknowledged in {Rounds} rounds");
    }

    static async Task AppendUntilKilledAsync(string directory, Durability level, Random random, long[] acknowledged)
    {
        using var child = ChildProcess.Start("append", directory, level.ToString(), $"{Writers}", $"{random.Next(1_000_000)}");
        int left = random.Next(20, 1000);
        while (await child.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
        {
            if (--left == 0) child.Kill();
            if (!line.EndsWith(';')) continue; // cut by the kill
            string[] parts = line.TrimEnd(';').Split(' ');
            acknowledged[int.Parse(parts[0], CultureInfo.InvariantCulture)] = long.Parse(parts[1], CultureInfo.InvariantCulture);
        }
        await child.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(left <= 0, "The child ended by itself: " + await child.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken));
    }
}
