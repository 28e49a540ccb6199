using System.Text;
using System.Text.Json;
using LongCtx.Client;
using LongCtx.Client.Tests;

namespace LongCtx.Cli.Tests.Chat;

/// <summary>How a chat begins that a server keeps: with what was said, and with a reply that is still being given.</summary>
public sealed class StoredChatTests(RealServer server) : IClassFixture<RealServer>
{
    const string Dim = "\e[2m", Prompt = "\e[1m>";

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Begin_OnATerminal_ShowsTheNewestTurnsDimmed()
    {
        LongCtxClient client = server.Client();
        string id = await CreateAsync(client);
        List<string> replies = [];
        foreach (string text in (string[])["one", "two", "three"])
            replies.Add((await client.AskAsync(id, server.Turn(text, 6), Cancellation).UntilAsync(1)).Reply());

        (int exit, string output, string error) = await RunAsync("/exit\n", id);
        Assert.Equal((0, ""), (exit, error));
        Assert.DoesNotContain("user: one", output, StringComparison.Ordinal);
        int last = 0;
        foreach (string line in (string[])["user: two", "assistant: " + FirstLine(replies[1]), "user: three", "assistant: " + FirstLine(replies[2]), Prompt])
        {
            int found = output.IndexOf(line, last, StringComparison.Ordinal);
            Assert.True(found >= 0, $"'{line}' is not behind '{output[..last]}' in '{output}'");
            if (line != Prompt) Assert.Equal(Dim, output[(found - Dim.Length)..found]);
            last = found + line.Length;
        }
    }

    [Fact]
    public async Task Begin_LongMessage_ShowsItsEnd()
    {
        LongCtxClient client = server.Client();
        string id = await CreateAsync(client);
        await client.AppendInputAsync(id, new([new("user", "the beginning: " + string.Concat(Enumerable.Repeat("🌊", 700)) + " the end.")]) { Wait = true }, Cancellation);
        (_, string output, _) = await RunAsync("/exit\n", id);
        Assert.Contains("user: …", output, StringComparison.Ordinal);
        Assert.Contains("the end", output, StringComparison.Ordinal);
        Assert.DoesNotContain("the beginning", output, StringComparison.Ordinal);
        Assert.DoesNotContain(Rune.ReplacementChar, output.EnumerateRunes()); // no half of a character
    }

    [Fact]
    public async Task Begin_WithALiveTurn_StreamsItToItsEndAndGoesOn()
    {
        LongCtxClient client = server.Client();
        string id = await CreateAsync(client);
        AcceptedTurn turn = await client.SubmitTurnAsync(id, server.Turn("Tell me more", 500), Cancellation);
        (int exit, string output, string error) = await RunAsync("And you?\n/exit\n", id, "--max-tokens", "4");
        Assert.Equal((0, ""), (exit, error));
        string reply = (await client.ReadTurnAsync(turn, 0, Cancellation).UntilAsync(1)).Reply();
        int began = output.IndexOf(reply, StringComparison.Ordinal);
        Assert.InRange(output.IndexOf("user: Tell me more", StringComparison.Ordinal), 0, began);
        Assert.DoesNotContain("assistant:", output, StringComparison.Ordinal); // it was given, not told
        Assert.True(output.IndexOf(Prompt, StringComparison.Ordinal) > began, output);
        Assert.Equal(2, (await client.GetConversationAsync(id, Cancellation)).Turns);
    }

    [Fact]
    public async Task Interrupt_DuringALiveTurn_CancelsItAndTheChatGoesOn()
    {
        LongCtxClient client = server.Client();
        string id = await CreateAsync(client);
        AcceptedTurn turn = await client.SubmitTurnAsync(id, server.Turn("Tell me all", 1_000_000), Cancellation);
        using TestTerminal terminal = new("/exit\n", isInteractive: true);
        Task<int> chat = App.RunAsync(["chat", "--conversation", id, "--server", server.Address.ToString()], terminal.Terminal);
        string shown;
        do
        {
            Assert.False(chat.IsCompleted, terminal.Output + terminal.Error);
            await Task.Delay(10, Cancellation);
            shown = terminal.Output;
        }
        while (shown.IndexOf("Tell me all", StringComparison.Ordinal) is var at && (at < 0 || shown.Length - at < 100));
        terminal.Interrupt.Raise();
        Assert.Equal(0, await chat);
        Assert.Contains("stopped", terminal.Output, StringComparison.Ordinal);
        Assert.Equal(TurnStatus.Cancelled, await client.GetTurnStatusAsync(id, turn.Turn, Cancellation));
    }

    [Fact]
    public async Task Begin_InAPipe_ShowsNothingAndWaitsForALiveTurn()
    {
        LongCtxClient client = server.Client();
        string id = await CreateAsync(client);
        await client.SubmitTurnAsync(id, server.Turn("Tell me more", 300), Cancellation);
        (int exit, string output, string error) = await Cli.RunAsync(
            "And you?\n", "chat", "--conversation", id, "--server", server.Address.ToString(), "--max-tokens", "4", "--json");
        Assert.True(exit == 0, error);
        Assert.Contains("waiting for its end", error, StringComparison.Ordinal);
        Assert.InRange(JsonDocument.Parse(Assert.Single(output.Split('\n', StringSplitOptions.RemoveEmptyEntries))).RootElement.GetProperty("completion_tokens").GetInt32(), 0, 4);
        Assert.Equal(2, (await client.GetConversationAsync(id, Cancellation)).Turns);
    }

    static async Task<string> CreateAsync(LongCtxClient client) => (await client.CreateConversationAsync(cancellation: Cancellation)).Id;

    /// <summary>As much of it as certainly stands on one line of a terminal.</summary>
    static string FirstLine(string text) => text.Split('\n')[0] is { Length: > 10 } line ? line[..10] : text.Split('\n')[0];

    async Task<(int Exit, string Output, string Error)> RunAsync(string input, string id, params string[] arguments)
    {
        using TestTerminal terminal = new(input, isInteractive: true);
        int exit = await App.RunAsync(["chat", "--conversation", id, "--server", server.Address.ToString(), .. arguments], terminal.Terminal);
        return (exit, terminal.Output, terminal.Error);
    }
}
