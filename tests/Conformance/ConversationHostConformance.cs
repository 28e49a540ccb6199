using LongCtx.Conversations.Machine;

namespace LongCtx.Conversations.Tests;

/// <summary>What every host of conversations does, be it one process or a cluster. Served is pg19-7m with a window of 256 tokens.</summary>
public abstract partial class ConversationHostConformance
{
    /// <summary>A host, or the shared one for a tenant of this test.</summary>
    protected abstract Task<HostDriver> OpenAsync();

    [Fact]
    public async Task Turns_ReplyAsTheStatelessChatDoes()
    {
        await using HostDriver host = await OpenAsync();
        string id = await host.CreateAsync();
        var messages = new List<ChatMessage>();
        string[] said = ["Good evening, captain.", "And what did the sea say?", "Tell me of the old house.", "Who lived there then?", "Go on, I beg you."];
        for (int i = 0; i < said.Length; i++) // passes the window of 256
        {
            messages.Add(new("user", said[i]));
            Turn turn = await host.SayAsync(id, $"t{i}", said[i], 60);
            TurnOptions options = host.Options(60);
            Reply stateless = await Client.CompleteAsync(host.Host, host.Tenant, new() { Messages = messages, MaxTokens = 60, Sampling = options.Sampling });
            Assert.Equal(stateless.Text, turn.Text);
            messages.Add(new("assistant", turn.Text));
            Assert.Null(turn.Usage.Restored);
        }

        ConversationInfo info = await host.Host.GetConversationAsync(host.Tenant, id);
        Assert.Equal((said.Length, 0), (info.Turns, info.LiveTurn));
        Assert.Contains(await host.EventsAsync(id), e => e is Evicted);
    }

    [Fact]
    public async Task Submit_TheSameTurnTwice_RunsItOnce()
    {
        await using HostDriver host = await OpenAsync();
        string id = await host.CreateAsync();
        TurnOptions options = host.Options(20);
        TurnTicket[] tickets = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => host.SubmitAsync(id, "one", "Hello there.", options).AsTask()));
        Assert.Single(tickets, t => t.IsNew);
        Assert.Single(tickets.Select(t => t with { IsNew = true }).Distinct());
        await host.FollowAsync(id, 0);
        Assert.False((await host.SubmitAsync(id, "one", "Hello there.", options)).IsNew);
        var conflict = await Assert.ThrowsAsync<LongCtxException>(async () => await host.SubmitAsync(id, "one", "Something else.", options));
        Assert.Equal(ErrorCode.Conflict, conflict.Code);
        Assert.Single(await host.EventsAsync(id), e => e is TurnAccepted);
    }

    [Fact]
    public async Task Submit_WhileATurnIsAnswered_IsRefusedOrWaits()
    {
        await using HostDriver host = await OpenAsync();
        string id = await host.CreateAsync();
        TurnTicket first = await host.SubmitAsync(id, "1", "Hello there.", host.Options(100_000));
        var busy = await Assert.ThrowsAsync<LongCtxException>(async () => await host.SubmitAsync(id, "2", "And?", host.Options(4)));
        Assert.Equal(ErrorCode.TurnInProgress, busy.Code);
        List<Task<TurnTicket>> both = [.. new[] { "3", "4" }.Select(turn => host.SubmitAsync(id, turn, "And then?", host.Options(4), waits: true).AsTask())];
        Task<TurnTicket> refused = await Task.WhenAny(both); // there is one place in the line
        Assert.Equal(ErrorCode.TurnInProgress, (await Assert.ThrowsAsync<LongCtxException>(() => refused)).Code);
        both.Remove(refused);

        TurnInfo cancelled = await host.Host.CancelTurnAsync(host.Tenant, id, first.Turn);
        Assert.Equal(TurnStatus.Cancelled, cancelled.Status);
        TurnTicket second = await both[0];
        Assert.Equal(first.Turn + 1, second.Turn);
        Assert.IsType<Completed>((await host.FollowAsync(id, second.AcceptedSeq - 1)).End);
        Assert.Equal(cancelled, await host.Host.CancelTurnAsync(host.Tenant, id, first.Turn)); // a second time: how it ended
        Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<LongCtxException>(async () => await host.Host.CancelTurnAsync(host.Tenant, id, 99))).Code);
    }

    [Fact]
    public async Task AnotherTenantOrId_IsNotFound_ADeletedOneIsGone()
    {
        await using HostDriver host = await OpenAsync();
        string id = await host.CreateAsync();
        await host.SayAsync(id, "1", "Hello.", 4);
        string other = ConversationIds.New("small");
        Func<string, string, Task>[] calls =
        [
            async (tenant, c) => await host.Host.GetConversationAsync(tenant, c),
            async (tenant, c) => await host.Host.SetMetadataAsync(tenant, c, new Dictionary<string, string>()),
            async (tenant, c) => await host.Host.SubmitTurnAsync(tenant, c, new("x", [new("user", "y")])),
            async (tenant, c) => await host.Host.AppendInputAsync(tenant, c, new([new("user", "y")])),
            async (tenant, c) => await host.Host.CancelTurnAsync(tenant, c, 1),
            async (tenant, c) => await host.Host.ReadEventsAsync(tenant, c, 0, 10, TimeSpan.Zero),
            async (tenant, c) => await host.Host.ListTurnsAsync(tenant, c, 0, 10, false),
            async (tenant, c) => await host.Host.ForkAsync(tenant, c, null),
            async (tenant, c) => await host.Host.GetAdapterAsync(tenant, c),
            async (tenant, c) => await host.Host.ConfigureAdapterAsync(tenant, c, HostDriver.QuickAdapter),
            async (tenant, c) => await host.Host.ResetAdapterAsync(tenant, c, disable: false),
            async (tenant, c) => await host.Host.ExportAdapterAsync(tenant, c),
            async (tenant, c) => await host.Host.ExportAsync(tenant, c).FirstAsync(),
            async (tenant, c) => await host.Host.DeleteConversationAsync(tenant, c),
        ];
        foreach (var call in calls)
        {
            Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<LongCtxException>(() => call(host.OtherTenant, id))).Code);
            Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<LongCtxException>(() => call(host.Tenant, other))).Code);
            Assert.Equal(ErrorCode.NotFound, (await Assert.ThrowsAsync<LongCtxException>(() => call(host.Tenant, "nonsense"))).Code);
        }

        await host.Host.DeleteConversationAsync(host.Tenant, id);
        foreach (var call in calls) Assert.Equal(ErrorCode.Deleted, (await Assert.ThrowsAsync<LongCtxException>(() => call(host.Tenant, id))).Code);
        Assert.Empty((await host.Host.ListConversationsAsync(host.Tenant, null, 10, false)).Items);
    }

    [Fact]
    public async Task Delete_EndsALiveTurnAndWakesItsReaders()
    {
        await using HostDriver host = await OpenAsync();
        string id = await host.CreateAsync();
        TurnTicket ticket = await host.SubmitAsync(id, "1", "Hello.", host.Options(100_000));
        await host.Host.ReadEventsAsync(host.Tenant, id, ticket.AcceptedSeq, 1, TimeSpan.FromSeconds(30));
        await host.Host.DeleteConversationAsync(host.Tenant, id);
        await Assert.ThrowsAsync<LongCtxException>(() => host.FollowAsync(id, ticket.AcceptedSeq));
    }

    [Fact]
    public async Task Read_AheadOfTheJournal_IsRewound()
    {
        await using HostDriver host = await OpenAsync();
        string id = await host.CreateAsync();
        Turn turn = await host.SayAsync(id, "1", "Hello.", 12);
        long head = turn.End.Seq;
        EventPage ahead = await host.Host.ReadEventsAsync(host.Tenant, id, head + 5, 10, TimeSpan.FromMinutes(1));
        Assert.Equal((true, head), (ahead.IsRewound, ahead.Head));
    }

    [Fact]
    public async Task Append_IsStoredOnceForEachNumber_AndAnsweredLikeOneText()
    {
        await using HostDriver host = await OpenAsync();
        string fed = await host.CreateAsync(), whole = await host.CreateAsync();
        string[] pieces = [.. Enumerable.Range(0, 6).Select(i => string.Concat(Enumerable.Repeat($"The {i}th ship came in from the sea. ", 12)))];
        for (int i = 0; i < pieces.Length; i++)
        {
            AppendInput piece = new([new("user", pieces[i])]) { Producer = "p", Number = i + 1 };
            InputAck ack = await host.Host.AppendInputAsync(host.Tenant, fed, piece with { Wait = true });
            Assert.True(ack.IsNew);
            InputAck again = await host.Host.AppendInputAsync(host.Tenant, fed, piece);
            Assert.Equal((ack.Seq, false), (again.Seq, again.IsNew));
        }

        Assert.Equal(ErrorCode.Conflict, (await Assert.ThrowsAsync<LongCtxException>(async () =>
            await host.Host.AppendInputAsync(host.Tenant, fed, new([new("user", "other")]) { Producer = "p", Number = 6 }))).Code);
        Assert.Equal(ErrorCode.Conflict, (await Assert.ThrowsAsync<LongCtxException>(async () =>
            await host.Host.AppendInputAsync(host.Tenant, fed, new([new("user", "other")]) { Producer = "p", Number = 8 }))).Code);
        await host.Host.AppendInputAsync(host.Tenant, whole, new([.. pieces.Select(p => new ChatMessage("user", p))]));
        Assert.Equal((await host.SayAsync(whole, "q", "Which ship?")).Text, (await host.SayAsync(fed, "q", "Which ship?")).Text);
    }

    [Fact]
    public async Task ForkAndImport_GoOnAsTheOriginalDoes()
    {
        await using HostDriver host = await OpenAsync();
        string id = await host.CreateAsync();
        Turn first = await host.SayAsync(id, "1", "Good evening, captain.", 80);
        Turn second = await host.SayAsync(id, "2", "And the sea?", 80);
        ConversationInfo fork = await host.Host.ForkAsync(host.Tenant, id, first.End.Seq);
        Assert.Equal($"{id}@{first.End.Seq}", fork.ForkedFrom);
        Turn again = await host.SayAsync(fork.Id, "2", "And the sea?", 80);
        Assert.Equal(second.Text, again.Text);

        List<string> lines = await host.Host.ExportAsync(host.Tenant, id).ToListAsync();
        ConversationInfo copy = await host.Host.ImportAsync(host.OtherTenant, lines.ToAsyncEnumerable());
        async Task<string[]> BodiesAsync(string tenant, string conversation) =>
            [.. (await host.Host.ReadEventsAsync(tenant, conversation, 0, 1000, TimeSpan.Zero)).Events.Select(e => JournalRecords.ToStored(e with { Epoch = 0, At = 0 }, default).Body)];
        Assert.Equal(await BodiesAsync(host.Tenant, id), await BodiesAsync(host.OtherTenant, copy.Id));
        await Assert.ThrowsAsync<LongCtxException>(async () => await host.Host.ImportAsync(host.OtherTenant, lines.Take(4).ToAsyncEnumerable()));
        lines[3] = lines[3].Replace("\"tokens\":[", "\"tokens\":[1,", StringComparison.Ordinal);
        var broken = await Assert.ThrowsAsync<LongCtxException>(async () => await host.Host.ImportAsync(host.OtherTenant, lines.ToAsyncEnumerable()));
        Assert.Equal(ErrorCode.InvalidRequest, broken.Code);
        Assert.Single((await host.Host.ListConversationsAsync(host.OtherTenant, null, 10, false)).Items); // nothing is left of those that failed
    }

    [Fact]
    public async Task Fork_InTheMiddleOfATurn_CancelsItThere()
    {
        await using HostDriver host = await OpenAsync();
        string id = await host.CreateAsync();
        Turn turn = await host.SayAsync(id, "1", "Good evening.", 60);
        long middle = turn.Events.OfType<Delta>().Skip(2).First().Seq;
        ConversationInfo fork = await host.Host.ForkAsync(host.Tenant, id, middle);
        List<ConversationEvent> events = await host.EventsAsync(fork.Id);
        Assert.IsType<Cancelled>(events[^1]);
        Assert.StartsWith(Turn.TextOf(events), turn.Text, StringComparison.Ordinal);
        Assert.IsType<Completed>((await host.SayAsync(fork.Id, "2", "And?", 8)).End);
    }
}
