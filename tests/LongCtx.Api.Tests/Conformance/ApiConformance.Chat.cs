using System.ClientModel;
using OpenAI.Chat;

namespace LongCtx.Api.Tests;

public abstract partial class ApiConformance
{
    const int Limit = 12;

    static ChatCompletionOptions Options(Action<ChatCompletionOptions>? configure = null)
    {
        ChatCompletionOptions options = new() { MaxOutputTokenCount = Limit, Temperature = 0, Seed = 7 };
        configure?.Invoke(options);
        return options;
    }

    static OpenAI.Chat.ChatMessage[] Ask(string text) => [new UserChatMessage(text)];

    [Fact]
    public async Task Chat_CompleteThroughTheSdk_GivesTextReasonAndUsageThatAddsUp()
    {
        ChatCompletion reply = await Chat.CompleteChatAsync(Ask("The king went to the sea"), Options(), Cancellation);

        Assert.Equal(ChatModel, reply.Model);
        Assert.StartsWith("chatcmpl-", reply.Id, StringComparison.Ordinal);
        Assert.Equal(ChatMessageRole.Assistant, reply.Role);
        Assert.NotEmpty(Assert.Single(reply.Content).Text);
        Assert.True(reply.FinishReason is ChatFinishReason.Stop or ChatFinishReason.Length, reply.FinishReason.ToString());
        Assert.InRange(reply.Usage.OutputTokenCount, 1, Limit);
        Assert.True(reply.Usage.InputTokenCount > 0);
        Assert.Equal(reply.Usage.InputTokenCount + reply.Usage.OutputTokenCount, reply.Usage.TotalTokenCount);
        Assert.InRange(reply.Usage.InputTokenDetails.CachedTokenCount, 0, reply.Usage.InputTokenCount);
    }

    [Fact]
    public async Task Chat_StreamedThroughTheSdk_IsTheSameReplyInPieces()
    {
        ChatCompletion whole = await Chat.CompleteChatAsync(Ask("The king went to the sea"), Options(), Cancellation);
        List<StreamingChatCompletionUpdate> updates = [];
        AsyncCollectionResult<StreamingChatCompletionUpdate> stream = Chat.CompleteChatStreamingAsync(Ask("The king went to the sea"), Options(), Cancellation);
        await foreach (StreamingChatCompletionUpdate update in stream) updates.Add(update);

        Assert.Equal(whole.Content[0].Text, string.Concat(updates.SelectMany(u => u.ContentUpdate).Select(part => part.Text)));
        Assert.Equal(ChatMessageRole.Assistant, updates[0].Role);
        Assert.Single(updates.Select(u => u.CompletionId).Distinct());
        Assert.Equal(whole.FinishReason, updates.Single(u => u.FinishReason is not null).FinishReason);
        Assert.Equal(whole.Usage.OutputTokenCount, updates.Single(u => u.Usage is not null).Usage.OutputTokenCount);
        Assert.True(updates.Count > 3, "A reply of several tokens must come in several pieces");
    }

    [Fact]
    public async Task Chat_TokenLimit_EndsTheReplyWithLength()
    {
        ChatCompletion reply = await Chat.CompleteChatAsync(Ask("one two three four five"), Options(o => o.MaxOutputTokenCount = 3), Cancellation);
        Assert.Equal(ChatFinishReason.Length, reply.FinishReason);
        Assert.Equal(3, reply.Usage.OutputTokenCount);
    }

    [Fact]
    public async Task Chat_StopText_EndsTheReplyBeforeIt()
    {
        ChatCompletion whole = await Chat.CompleteChatAsync(Ask("one two three four five"), Options(), Cancellation);
        string text = whole.Content[0].Text;
        // From inside one word into the next, so that the stop text begins and ends inside a token.
        string stop = text[(text.Length / 2)..Math.Min(text.Length, (text.Length / 2) + 4)];
        ChatCompletion cut = await Chat.CompleteChatAsync(Ask("one two three four five"), Options(o => o.StopSequences.Add(stop)), Cancellation);

        Assert.Equal(ChatFinishReason.Stop, cut.FinishReason);
        Assert.Equal(text[..text.IndexOf(stop, StringComparison.Ordinal)], cut.Content.Count == 0 ? "" : cut.Content[0].Text);
    }

    [Fact]
    public async Task Chat_Logprobs_CoverTheTextTokenByToken()
    {
        void LogprobsOf3(ChatCompletionOptions o) => (o.IncludeLogProbabilities, o.TopLogProbabilityCount) = (true, 3);
        ChatCompletion reply = await Chat.CompleteChatAsync(Ask("The king"), Options(LogprobsOf3), Cancellation);

        Assert.Equal(reply.Usage.OutputTokenCount, reply.ContentTokenLogProbabilities.Count);
        byte[] bytes = [.. reply.ContentTokenLogProbabilities.SelectMany(t => t.Utf8Bytes!.Value.ToArray())];
        Assert.Equal(reply.Content[0].Text, System.Text.Encoding.UTF8.GetString(bytes));
        Assert.All(reply.ContentTokenLogProbabilities, token =>
        {
            Assert.InRange(token.LogProbability, -9999, 0);
            Assert.Equal(3, token.TopLogProbabilities.Count);
            // Greedy: the token is the most likely one.
            Assert.Equal(token.TopLogProbabilities.Max(t => t.LogProbability), token.LogProbability);
        });

        List<ChatTokenLogProbabilityDetails> streamed = [];
        await foreach (StreamingChatCompletionUpdate update in Chat.CompleteChatStreamingAsync(Ask("The king"), Options(LogprobsOf3), Cancellation))
            streamed.AddRange(update.ContentTokenLogProbabilities);
        Assert.Equal(reply.ContentTokenLogProbabilities.Select(t => t.Token), streamed.Select(t => t.Token));
    }

    [Fact]
    public async Task Chat_SameSeed_GivesTheSameReply()
    {
        string[] texts = await Task.WhenAll(Enumerable.Range(0, 2).Select(async _ =>
        {
            ChatCompletion reply = await Chat.CompleteChatAsync(Ask("Once"), Options(o => o.Temperature = 1.5f), Cancellation);
            return reply.Content[0].Text;
        }));
        Assert.Equal(texts[0], texts[1]);
    }

    [Fact]
    public async Task Chat_SeveralAtOnce_EachGetsItsOwnReply()
    {
        string[] questions = [.. Enumerable.Range(0, 6).Select(i => $"Number {i} is the best number of all, said the king")];
        string[] alone = new string[questions.Length];
        for (int i = 0; i < questions.Length; i++) alone[i] = (await Chat.CompleteChatAsync(Ask(questions[i]), Options(), Cancellation)).Value.Content[0].Text;
        string[] together = await Task.WhenAll(questions.Select(async q => (await Chat.CompleteChatAsync(Ask(q), Options(), Cancellation)).Value.Content[0].Text));
        Assert.Equal(alone, together);
    }

    [Fact]
    public async Task Chat_NextTurn_ReportsCachedTokens()
    {
        List<OpenAI.Chat.ChatMessage> messages = [.. Ask("The king went to the sea")];
        ChatCompletion first = await Chat.CompleteChatAsync(messages, Options(), Cancellation);
        messages.Add(new AssistantChatMessage(first.Content[0].Text));
        messages.Add(new UserChatMessage("And then?"));
        ChatCompletion second = await Chat.CompleteChatAsync(messages, Options(), Cancellation);
        Assert.InRange(second.Usage.InputTokenDetails.CachedTokenCount, first.Usage.InputTokenCount, second.Usage.InputTokenCount - 1);
    }

    [Fact]
    public async Task Chat_UnknownModel_IsNotFound()
    {
        HttpResponseMessage response = await Server.PostAsync("/v1/chat/completions", """{"model":"gpt-9","messages":[{"role":"user","content":"x"}]}""");
        await response.AssertErrorAsync(404, "model_not_found", "model");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Chat_ClientLeaves_TheGenerationStops(bool stream)
    {
        using CancellationTokenSource leave = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        string body = $$"""{"stream":{{(stream ? "true" : "false")}},"max_tokens":1000000,"messages":[{"role":"user","content":"{{LongQuestion}}"}]}""";
        Task<HttpResponseMessage> answer = Server.OpenAsync(body, leave.Token);
        if (stream)
        {
            using SseReader events = new(await (await answer).Content.ReadAsStreamAsync(leave.Token));
            for (int i = 0; i < 3; i++) Assert.NotNull(await events.NextAsync());
        }
        await WaitForAsync(status => status.Running == 1);
        await leave.CancelAsync();
        await WaitForAsync(status => status.Running == 0);
        if (!stream) await Assert.ThrowsAnyAsync<OperationCanceledException>(() => answer);
    }

    /// <summary>A question whose reply is too long to be over before the client leaves.</summary>
    private protected abstract string LongQuestion { get; }
}
