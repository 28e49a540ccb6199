using System.Reflection;
using LongCtx.Cli.Bench;
using LongCtx.Conversations.Storage;
using LongCtx.Storage.Sqlite;

namespace LongCtx.Cli.Tests.Bench;

public sealed class AppendLoadTests : IDisposable
{
    readonly string _directory = Directory.CreateTempSubdirectory("longctx-append").FullName;

    [Fact]
    public async Task Run_HonestStore_CountsWholeTurnsAndDeletesWhatItWrote()
    {
        await using var store = await SqliteConversationStore.OpenAsync(new() { Directory = _directory, Durability = Durability.Relaxed }, TestContext.Current.CancellationToken);
        AppendFigure figure = await AppendLoad.RunAsync(store, "sqlite", 3, TimeSpan.Zero, TestContext.Current.CancellationToken);
        Assert.Equal(("sqlite", "relaxed", 3), (figure.Store, figure.Durability, figure.Writers));
        Assert.True(figure.TurnsPerSecond > 0);
        Assert.Equal(figure.AppendsPerSecond / AppendLoad.AppendsPerTurn, figure.TurnsPerSecond, 6);
        Assert.Equal(0, await store.CountAsync("bench", TestContext.Current.CancellationToken));
    }

    [Theory]
    [InlineData(3, AppendStatus.Conflict, "answered append 3")] // refuses
    [InlineData(6, AppendStatus.Appended, "acknowledged 6 events")] // says yes, and keeps nothing of it
    public async Task Run_StoreThatFailsAtOneAppend_IsAnErrorInsteadOfAFigure(int at, AppendStatus answer, string expected)
    {
        await using var honest = await SqliteConversationStore.OpenAsync(new() { Directory = _directory }, TestContext.Current.CancellationToken);
        IConversationStore store = DispatchProxy.Create<IConversationStore, FailingStore>();
        ((FailingStore)store).Set(honest, at, answer);
        var failure = await Assert.ThrowsAsync<CheckFailedException>(() => AppendLoad.RunAsync(store, "failing", 1, TimeSpan.Zero, TestContext.Current.CancellationToken));
        Assert.Contains(expected, failure.Message, StringComparison.Ordinal);
    }

    /// <summary>Answers one append of all without doing it.</summary>
    public class FailingStore : DispatchProxy
    {
        IConversationStore? _store;
        int _at;
        AppendStatus _answer;

        internal void Set(IConversationStore store, int at, AppendStatus answer) => (_store, _at, _answer) = (store, at, answer);

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
            args is [_, AppendBatch batch, ..] && batch.ExpectedSeq == _at - 1
                ? ValueTask.FromResult(new AppendResult(_answer, _at)) : targetMethod!.Invoke(_store, args);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);
}
