using LongCtx.Conversations.Local;
using LongCtx.Conversations.Storage;
using LongCtx.Conversations.Storage.Tests;

namespace LongCtx.Conversations.Tests;

public sealed class LogPartTests
{
    /// <summary>Who reads the log up to where it ended a moment ago must not get what came since: it would be computed twice.</summary>
    [Fact]
    public async Task Read_EndsWhereItShould_ThoughTheLogGoesOn()
    {
        var store = new NaiveStore();
        var key = new ConversationKey(DurableHost.TenantName, "");
        await using (DurableHost host = await DurableHost.OpenAsync(store))
        {
            key = key with { Id = await host.CreateAsync() };
            for (int turn = 1; turn <= 3; turn++) await host.SayAsync(key.Id, $"{turn}", "Go on with the story.", 20);
        }

        long end = Machine.ConversationState.Parse((await store.FindAsync(key))!.State).Tokens;
        LogPart whole = await LogPart.ReadAsync(store, key, 0, 0, end, TestContext.Current.CancellationToken);
        foreach ((long from, long to) in new[] { (0, end / 2), (end / 3, end / 2), (0, whole.TurnStarts[^1]), (end / 3, end) })
        {
            LogPart part = await LogPart.ReadAsync(store, key, 0, from, to, TestContext.Current.CancellationToken);
            Assert.Equal((from, to), (part.Start, part.End));
            Assert.Equal(whole.Ids[(int)from..(int)to], part.Ids);
            Assert.Equal(whole.TurnStarts.Where(start => start >= from && start < to), part.TurnStarts);
        }
    }
}
