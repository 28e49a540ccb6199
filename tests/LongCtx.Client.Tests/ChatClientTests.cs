using Microsoft.Extensions.AI;

namespace LongCtx.Client.Tests;

/// <summary>Microsoft.Extensions.AI's view of conversations.</summary>
public sealed class ChatClientTests(RealServer server) : IClassFixture<RealServer>
{
    [Fact]
    public async Task Reply_Streamed_HasIdsUsageAndTheJournalsText()
    {
        LongCtxClient client = server.Client();
        IChatClient chat = new LongCtxChatClient(client);
        List<ChatResponseUpdate> updates = await chat.GetStreamingResponseAsync("Tell me about the sea.", Greedy(20), Cancellation).ToListAsync(Cancellation);
        ChatResponse response = updates.ToChatResponse();
        Assert.All(updates, u => Assert.Null(u.ContinuationToken));
        string id = Assert.IsType<string>(response.ConversationId);
        Assert.Equal((ChatFinishReason.Length, 20L), (response.FinishReason, response.Usage?.OutputTokenCount));
        List<ConversationEvent> journal = await client.SubscribeAsync(id, 0, Cancellation).UntilAsync(ends: 1);
        Assert.Equal(journal.Reply(), response.Text);
        Assert.Equal(ConversationIds.Response(id, 1), response.ResponseId);
    }

    [Fact]
    public async Task Conversation_Continued_SendsOnlyNewMessagesAndPaysOnlyForThem()
    {
        LongCtxClient client = server.Client();
        IChatClient chat = new LongCtxChatClient(client);
        ChatOptions options = Greedy(16);
        options.Instructions = "Be brief.";
        ChatResponse first = await chat.GetResponseAsync("Tell me about the sea.", options, Cancellation);
        options.ConversationId = first.ConversationId;
        ChatResponse second = await chat.GetResponseAsync("And the shore?", options, Cancellation);
        Assert.Equal(first.ConversationId, second.ConversationId);
        Assert.True(second.Usage!.CachedInputTokenCount >= first.Usage!.InputTokenCount, $"{second.Usage.CachedInputTokenCount} of {second.Usage.InputTokenCount} cached");
        TurnAccepted[] turns = [.. (await client.SubscribeAsync(first.ConversationId!, 0, Cancellation).UntilAsync(ends: 2)).OfType<TurnAccepted>()];
        Assert.Equal(["system", "user"], turns[0].Messages.Select(m => m.Role));
        Assert.Equal("And the shore?", Assert.Single(turns[1].Messages).Content);
    }

    [Fact]
    public async Task Background_ResumedFromAnyToken_GivesTheRestAndNothingTwice()
    {
        LongCtxClient client = server.Client();
        IChatClient chat = new LongCtxChatClient(client);
        ChatOptions options = Greedy(40);
        options.AllowBackgroundResponses = true;
        List<ChatResponseUpdate> updates = await chat.GetStreamingResponseAsync("Tell me a story.", options, Cancellation).ToListAsync(Cancellation);
        Assert.All(updates.SkipLast(1), u => Assert.NotNull(u.ContinuationToken));
        Assert.Null(updates[^1].ContinuationToken);
        for (int i = 0; i < updates.Count - 1; i++)
        {
            // Another process has nothing but the token's bytes.
            ResponseContinuationToken token = ResponseContinuationToken.FromBytes(updates[i].ContinuationToken!.ToBytes().ToArray());
            IChatClient other = new LongCtxChatClient(server.Client());
            ChatResponse rest = await other.GetStreamingResponseAsync([], new() { ContinuationToken = token }, Cancellation).ToChatResponseAsync(Cancellation);
            Assert.Equal(string.Concat(updates.Skip(i + 1).Select(u => u.Text)), rest.Text);
        }
    }

    [Fact]
    public async Task Background_NotStreamed_AnswersAtOnceAndIsAskedForAgain()
    {
        LongCtxClient client = server.Client();
        IChatClient chat = new LongCtxChatClient(client);
        string id = (await client.CreateConversationAsync(cancellation: Cancellation)).Id;
        ChatOptions options = new() { ConversationId = id, AllowBackgroundResponses = true, MaxOutputTokens = 300, Temperature = 0 };
        ChatResponse response = await chat.GetResponseAsync("Tell me a story.", options, Cancellation);
        int asked = 0;
        List<ConversationEvent> journal = await client.SubscribeAsync(id, 0, Cancellation).UntilAsync(ends: 1);
        while (response.ContinuationToken is { } token)
        {
            asked++;
            Assert.Empty(response.Messages);
            response = await chat.GetResponseAsync([], new() { ContinuationToken = token }, Cancellation);
        }
        Assert.True(asked > 0, "the reply was ready before it was begun");
        Assert.Equal(journal.Reply(), response.Text);
    }

    [Fact]
    public async Task Leaving_WithoutBackground_CancelsTheTurn()
    {
        LongCtxClient client = server.Client();
        IChatClient chat = new LongCtxChatClient(client);
        string id = (await client.CreateConversationAsync(cancellation: Cancellation)).Id;
        AcceptedTurn? turn = null;
        ChatOptions options = new() { ConversationId = id, MaxOutputTokens = 100_000, FrequencyPenalty = 0.1f };
        await foreach (ChatResponseUpdate update in chat.GetStreamingResponseAsync("Go on for ever.", options, Cancellation))
        {
            turn = new(id, 1, ((ConversationEvent)update.RawRepresentation!).Seq);
            break;
        }
        Assert.NotNull(turn);
        Assert.IsType<Cancelled>((await client.SubscribeAsync(id, 0, Cancellation).UntilAsync(ends: 1))[^1]);
    }

    [Fact]
    public async Task Request_RepeatedUnderItsTurnId_RunsOnce()
    {
        IChatClient chat = new LongCtxChatClient(server.Client());
        ChatOptions options = new() { MaxOutputTokens = 12, AdditionalProperties = new() { ["turn_id"] = Guid.NewGuid().ToString() } };
        ChatResponse first = await chat.GetResponseAsync("Hello", options, Cancellation), second = await chat.GetResponseAsync("Hello", options, Cancellation);
        Assert.Equal((first.ConversationId, first.ResponseId, first.Text), (second.ConversationId, second.ResponseId, second.Text));
    }

    [Fact]
    public async Task Requests_ThatCannotBeHonoured_AreRefusedByName()
    {
        IChatClient chat = new LongCtxChatClient(server.Client());
        await RefusedAsync(new() { Tools = [AIFunctionFactory.Create(() => 1, "one")] }, "tools");
        await RefusedAsync(new() { ResponseFormat = ChatResponseFormat.Json }, "response format");
        await RefusedAsync(new() { AdditionalProperties = new() { ["mirostat"] = 1 } }, "mirostat");
        await RefusedAsync(new() { Temperature = 3 }, "temperature");
        await RefusedAsync(new() { ContinuationToken = ResponseContinuationToken.FromBytes("{}"u8.ToArray()) }, "continuation token", []);
        LongCtxException refused = await Assert.ThrowsAsync<LongCtxException>(
            () => chat.GetResponseAsync([new(ChatRole.User, [new DataContent(new byte[] { 1 }, "image/png")])], null, Cancellation));
        Assert.Contains("DataContent", refused.Message, StringComparison.Ordinal);

        async Task RefusedAsync(ChatOptions options, string reason, Microsoft.Extensions.AI.ChatMessage[]? messages = null)
        {
            LongCtxException e = await Assert.ThrowsAsync<LongCtxException>(() => chat.GetResponseAsync(messages ?? [new(ChatRole.User, "hello")], options, Cancellation));
            Assert.Contains(reason, e.Message, StringComparison.Ordinal);
        }
    }

    static ChatOptions Greedy(int tokens) => new() { MaxOutputTokens = tokens, Temperature = 0 };

    static CancellationToken Cancellation => TestContext.Current.CancellationToken;
}
