using System.Threading.Channels;
using LongCtx.Client.Tests.Examples;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace LongCtx.Client.Tests;

/// <summary>The README's examples, run.</summary>
public sealed class ExampleTests(RealServer server) : IClassFixture<RealServer>, IDisposable
{
    readonly string directory = Directory.CreateTempSubdirectory("longctx-examples").FullName;

    [Fact]
    public async Task Quickstart_PrintsTheReplyAndTheConversationGoesOn()
    {
        using StringWriter output = new();
        LongCtxClient client = server.Client();
        string id = await Quickstart.RunAsync(client, output, Cancellation);
        List<ConversationEvent> journal = await client.SubscribeAsync(id, 0, Cancellation).UntilAsync(ends: 1);
        Assert.StartsWith(journal.Reply(), output.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ResumedReply_BrokenOffTwice_IsWholeInTheEnd()
    {
        string file = Path.Combine(directory, "token");
        using ServiceProvider services = new ServiceCollection().AddLongCtxClient(new() { Server = server.Address }).Services.BuildServiceProvider();
        IChatClient chat = services.GetRequiredService<IChatClient>();
        using BreakingWriter output = new(20, 60);
        for (int i = 0; i < 2; i++)
            await Assert.ThrowsAsync<IOException>(ReadAsync);
        await ReadAsync();
        Assert.False(File.Exists(file));

        LongCtxClient client = server.Client();
        string id = (await client.ListConversationsAsync(cancellation: Cancellation).FirstAsync(Cancellation)).Id;
        Assert.Equal((await client.SubscribeAsync(id, 0, Cancellation).UntilAsync(ends: 1)).Reply(), output.ToString());

        // The turn's id fixes the seed, and with it a reply that is longer than both breaks.
        Task ReadAsync() => ResumedReply.ReadAsync(chat, "story 7", "Tell me a long story.", file, output, Cancellation);
    }

    [Fact]
    public async Task LongLivedBot_StoppedAndStartedWithItsServer_AnswersEveryMessageOnce()
    {
        await using RealServer own = new();
        await own.InitializeAsync();
        Channel<Incoming> inbox = Channel.CreateUnbounded<Incoming>();
        Channel<(string Message, string Text)> outbox = Channel.CreateUnbounded<(string, string)>();
        IHost? bot = await StartAsync(own, inbox, outbox);
        inbox.Writer.TryWrite(new("a", "Good morning!"));
        Assert.Equal("a", (await outbox.Reader.ReadAsync(Cancellation)).Message);
        inbox.Writer.TryWrite(new("b", "What did I say?"));
        while (inbox.Reader.Count > 0)
        {
            Cancellation.ThrowIfCancellationRequested();
            await Task.Yield();
        }
        await bot.StopAsync(Cancellation);
        bot.Dispose();
        await own.StopAsync();

        inbox.Writer.TryWrite(new("b", "What did I say?")); // the mailbox gives it out again: it was not marked as read
        inbox.Writer.TryWrite(new("c", "Good night!"));
        await own.StartAsync();
        bot = await StartAsync(own, inbox, outbox);
        List<string> answered = [(await outbox.Reader.ReadAsync(Cancellation)).Message];
        answered.Add((await outbox.Reader.ReadAsync(Cancellation)).Message);
        await bot.StopAsync(Cancellation);
        bot.Dispose();
        Assert.Equal(["b", "c"], answered);
        LongCtxClient client = own.Client();
        string id = (await client.ListConversationsAsync(cancellation: Cancellation).SingleAsync(Cancellation)).Id;
        Assert.Equal(["a", "b", "c"], (await client.SubscribeAsync(id, 0, Cancellation).UntilAsync(ends: 3)).OfType<TurnAccepted>().Select(t => t.TurnId));
    }

    [Fact]
    public async Task LongLivedBot_StoppedWhileItDelivers_DoesNotDeliverAgain()
    {
        Channel<Incoming> inbox = Channel.CreateUnbounded<Incoming>();
        Channel<string> delivered = Channel.CreateUnbounded<string>();
        LongLivedBot? bot = null;
        Task stopped = Task.CompletedTask;
        foreach (string message in (string[])["a", "b"])
        {
            bot = new(server.Client(), inbox.Reader, DeliverAndStopAsync, Path.Combine(directory, "bot"));
            await bot.StartAsync(Cancellation);
            inbox.Writer.TryWrite(new(message, "Good morning!"));
            Assert.Equal(message, await delivered.Reader.ReadAsync(Cancellation));
            await stopped.WaitAsync(Cancellation);
            bot.Dispose();
        }

        Task DeliverAndStopAsync(string message, string text)
        {
            stopped = bot!.StopAsync(CancellationToken.None);
            delivered.Writer.TryWrite(message);
            return Task.CompletedTask;
        }
    }

    [Fact(Timeout = 60_000)]
    public async Task LongLivedBot_WhoseOnePartFails_Ends()
    {
        string file = Path.Combine(directory, "bot");
        await File.WriteAllTextAsync(file, "not a place", Cancellation);
        using LongLivedBot bot = new(server.Client(), Channel.CreateUnbounded<Incoming>().Reader, (_, _) => Task.CompletedTask, file);
        await bot.StartAsync(Cancellation);
        await Assert.ThrowsAsync<FormatException>(() => bot.ExecuteTask!.WaitAsync(Cancellation));
    }

    async Task<IHost> StartAsync(RealServer at, Channel<Incoming> inbox, Channel<(string, string)> outbox)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Services.AddLongCtxClient(new() { Server = at.Address, RetryDelay = TimeSpan.FromMilliseconds(1), RetryDelayMax = TimeSpan.FromMilliseconds(20) });
        builder.Services.AddHostedService(services => new LongLivedBot(services.GetRequiredService<LongCtxClient>(), inbox.Reader,
            (message, text) => outbox.Writer.WriteAsync((message, text)).AsTask(), Path.Combine(directory, "bot")));
        IHost host = builder.Build();
        await host.StartAsync(Cancellation);
        return host;
    }

    public void Dispose() => Directory.Delete(directory, recursive: true);

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Fails before it takes what would bring it past each of some lengths.</summary>
    sealed class BreakingWriter(params int[] lengths) : StringWriter
    {
        readonly Queue<int> breaks = new(lengths);

        public override Task WriteAsync(string? value)
        {
            if (breaks.TryPeek(out int next) && GetStringBuilder().Length + value?.Length > next)
            {
                breaks.Dequeue();
                throw new IOException("nobody reads any more");
            }
            return base.WriteAsync(value);
        }
    }
}
