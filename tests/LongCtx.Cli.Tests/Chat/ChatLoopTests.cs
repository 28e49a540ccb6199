using System.Text.Json;
using LongCtx.Cli.Chat;

namespace LongCtx.Cli.Tests.Chat;

public sealed class ChatLoopTests
{
    readonly ScriptedHost _host = new();

    [Fact]
    public async Task Run_PipedMessages_AnswersEachOnALineWithoutDecoration()
    {
        using var terminal = new TestTerminal("hello\n\nbye\n");
        Assert.Equal(0, await RunAsync(terminal));
        Assert.Equal(Lines("1 hello", "3 bye"), terminal.Output);
        Assert.Equal("", terminal.Error);
    }

    [Fact]
    public async Task Run_SystemMessage_IsSentFirstAndHistoryGrows()
    {
        using var terminal = new TestTerminal("a\nb\n");
        await RunAsync(terminal, system: "be brief");
        Assert.Equal(["system", "user", "assistant", "user"], _host.Requests[1].Messages!.Select(m => m.Role));
        Assert.Equal(["be brief", "a", "2 a", "b"], _host.Requests[1].Messages!.Select(m => m.Content));
    }

    [Fact]
    public async Task Run_Exit_ReadsNoFurther()
    {
        using var terminal = new TestTerminal("a\n/exit\nb\n");
        Assert.Equal(0, await RunAsync(terminal));
        Assert.Single(_host.Requests);
    }

    [Fact]
    public async Task Run_Json_WritesOneObjectPerReply()
    {
        using var terminal = new TestTerminal("hello\n");
        await RunAsync(terminal, asJson: true);
        JsonElement reply = JsonDocument.Parse(terminal.Output).RootElement;
        Assert.Equal("1 hello", reply.GetProperty("text").GetString());
        Assert.Equal("stop", reply.GetProperty("finish_reason").GetString());
        Assert.Equal(2, reply.GetProperty("window").GetProperty("evicted").GetInt64());
        Assert.Equal(10, reply.GetProperty("tokens_per_second").GetDouble()); // 20 tokens after the first in 2 seconds
    }

    [Fact]
    public async Task Run_RefusalInAPipe_EndsWithTheRefusal()
    {
        using var terminal = new TestTerminal("a\nrefuse\nb\n");
        var refusal = await Assert.ThrowsAsync<LongCtxException>(() => RunAsync(terminal));
        Assert.Equal("too long", refusal.Message);
    }

    [Fact]
    public async Task Send_Refused_TakesTheMessageBack()
    {
        var chat = new ChatSession(_host, SamplingOptions.Greedy, null, null);
        await Assert.ThrowsAsync<LongCtxException>(async () => await DrainAsync(chat, "refuse", CancellationToken.None));
        Assert.Empty(chat.Messages);
    }

    [Fact]
    public async Task Send_Cancelled_KeepsWhatWasSeenOfTheReply()
    {
        var chat = new ChatSession(_host, SamplingOptions.Greedy, null, null);
        using var stop = new CancellationTokenSource();
        int words = 0;
        _host.OnWord = () =>
        {
            if (++words == 3) stop.Cancel();
        };
        await Assert.ThrowsAsync<OperationCanceledException>(async () => await DrainAsync(chat, "forever", stop.Token));
        Assert.Equal(["user", "assistant"], chat.Messages.Select(m => m.Role));
        Assert.Equal("1 forever1", chat.Messages[1].Content);
    }

    [Fact]
    public void WindowText_States_SaysHowFullAndWhatLeft()
    {
        Assert.Equal("window 40 of 160 (25 %) · nothing has left it", ChatLoop.WindowText(new(40, 160, 0, 40)));
        Assert.Equal("window 150 of 160 (94 %) · 900 of 1050 tokens have left it", ChatLoop.WindowText(new(150, 160, 900, 1050)));
        Assert.Equal("window 40, unlimited · nothing has left it", ChatLoop.WindowText(new(40, 0, 0, 40)));
    }

    Task<int> RunAsync(TestTerminal terminal, string? system = null, bool asJson = false) =>
        new ChatLoop(terminal.Terminal, new ChatSession(_host, SamplingOptions.Greedy, null, system), asJson).RunAsync(terminal.Interrupt.Program);

    static async Task DrainAsync(ChatSession chat, string text, CancellationToken cancellation)
    {
        await foreach (CompletionEvent _ in chat.SendAsync(text, cancellation))
        {
            // only the effect on the conversation matters
        }
    }

    static string Lines(params string[] lines) => string.Concat(lines.Select(l => l + Environment.NewLine));
}
