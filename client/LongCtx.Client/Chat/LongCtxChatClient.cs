using System.Runtime.CompilerServices;
using LongCtx.Client.Chat;
using LongCtx.Client.Wire;
using Microsoft.Extensions.AI;

namespace LongCtx.Client;

/// <summary>
/// Conversations as an <see cref="IChatClient"/>. The server keeps what was said: with <see cref="ChatOptions.ConversationId"/> only new messages
/// are sent; without it a conversation is created, and its id comes with the reply. With <see cref="ChatOptions.AllowBackgroundResponses"/> each update has
/// a continuation token, with which the reply goes on after any interruption, in another process too; without it, leaving cancels the turn. The additional property
/// <c>turn_id</c> names the turn, so that a repeated request runs once.
/// </summary>
/// <param name="client">Reaches the server.</param>
/// <param name="model">For conversations that this creates; null is the server's first.</param>
public sealed class LongCtxChatClient(LongCtxClient client, string? model = null) : IChatClient
{
    readonly ChatClientMetadata metadata = new("longctx", client.Server, model);

    /// <summary>
    /// The whole reply; with background responses allowed, at once: a response with a continuation token and no messages is not ready yet, and is asked for again with
    /// its token.
    /// </summary>
    public async Task<ChatResponse> GetResponseAsync(
        IEnumerable<Microsoft.Extensions.AI.ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        if (options?.ContinuationToken is null && options?.AllowBackgroundResponses is not true)
            return await GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken).ConfigureAwait(false);

        PlaceInTurn place = await StartAsync(messages, options, cancellationToken).ConfigureAwait(false);
        string responseId = ConversationIds.Response(place.Conversation, place.Turn);
        if (await client.GetTurnStatusAsync(place.Conversation, place.Turn, cancellationToken).ConfigureAwait(false) == TurnStatus.InProgress)
            return new() { ConversationId = place.Conversation, ResponseId = responseId, ContinuationToken = place.ToToken() };
        return await ReadAsync(place, isBackground: true, cancellationToken).ToChatResponseAsync(cancellationToken).ConfigureAwait(false);
    }

    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<Microsoft.Extensions.AI.ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        bool isBackground = options?.ContinuationToken is not null || options?.AllowBackgroundResponses is true;
        PlaceInTurn place = await StartAsync(messages, options, cancellationToken).ConfigureAwait(false);
        await foreach (ChatResponseUpdate update in ReadAsync(place, isBackground, cancellationToken).ConfigureAwait(false)) yield return update;
    }

    public object? GetService(Type serviceType, object? serviceKey = null)
    {
        if (serviceKey is not null) return null;
        if (serviceType == typeof(ChatClientMetadata)) return metadata;
        if (serviceType == typeof(LongCtxClient)) return client;
        return serviceType.IsInstanceOfType(this) ? this : null;
    }

    /// <summary>Nothing: the client belongs to whoever made it.</summary>
    public void Dispose()
    {
    }

    /// <summary>Submits the turn, or finds the place that the token names.</summary>
    async ValueTask<PlaceInTurn> StartAsync(IEnumerable<Microsoft.Extensions.AI.ChatMessage> messages, ChatOptions? options, CancellationToken cancellation)
    {
        if (options?.ContinuationToken is { } token)
        {
            return messages.Any()
                ? throw new LongCtxException(ErrorCode.InvalidRequest, "a reply that is continued takes no messages: send them as the next turn", "messages")
                : PlaceInTurn.FromToken(token);
        }
        TurnRequest request = TurnRequest.From(messages, options);
        string? chosen = request.Model ?? (request.Conversation is null ? model : null);
        string conversation = request.Conversation
            ?? (await client.CreateConversationAsync(new(chosen) { IdempotencyKey = request.Turn.TurnId }, cancellation).ConfigureAwait(false)).Id;
        AcceptedTurn turn = await client.SubmitTurnAsync(conversation, request.Turn, request.Model, request.Instructions, cancellation).ConfigureAwait(false);
        return new(conversation, turn.Turn, turn.Seq, turn.Seq - 1);
    }

    async IAsyncEnumerable<ChatResponseUpdate> ReadAsync(PlaceInTurn place, bool isBackground, [EnumeratorCancellation] CancellationToken cancellation)
    {
        AcceptedTurn turn = new(place.Conversation, place.Turn, place.TurnSeq);
        bool hasEnded = false;
        try
        {
            await foreach (ConversationEvent e in client.ReadTurnAsync(turn, place.After, cancellation).ConfigureAwait(false))
            {
                if (e is Failed failed) throw new LongCtxException(ErrorAnswers.CodeOf(failed.Code), failed.Message);
                hasEnded = e is Completed or Cancelled;
                ChatResponseUpdate update = UpdateOf(e, turn);
                if (isBackground && !hasEnded) update.ContinuationToken = (place with { After = e.Seq }).ToToken();
                yield return update;
            }
        }
        finally
        {
            // Nobody could come back to it.
            if (!hasEnded && !isBackground) await CancelAsync(turn).ConfigureAwait(false);
        }
    }

    static ChatResponseUpdate UpdateOf(ConversationEvent e, AcceptedTurn turn)
    {
        string text = e switch
        {
            Delta delta => delta.Text,
            Completed completed => completed.Text,
            Cancelled cancelled => cancelled.Text,
            _ => "",
        };
        ChatResponseUpdate update = new(ChatRole.Assistant, text.Length > 0 ? [new TextContent(text)] : [])
        {
            ConversationId = turn.Conversation,
            ResponseId = turn.ResponseId,
            MessageId = turn.ResponseId,
            CreatedAt = DateTimeOffset.FromUnixTimeMilliseconds(e.At),
            RawRepresentation = e,
            FinishReason = e switch
            {
                Completed { Reason: FinishReason.Stop } => ChatFinishReason.Stop,
                Completed => ChatFinishReason.Length,
                Cancelled => new ChatFinishReason("cancelled"),
                _ => null,
            },
        };
        if ((e as Completed)?.Usage is { } usage) update.Contents.Add(new UsageContent(Details(usage)));
        if ((e as Cancelled)?.Usage is { } partial) update.Contents.Add(new UsageContent(Details(partial)));
        return update;
    }

    static UsageDetails Details(TurnUsage usage) => new()
    {
        InputTokenCount = usage.InputTokens,
        CachedInputTokenCount = usage.CachedTokens,
        OutputTokenCount = usage.OutputTokens,
        TotalTokenCount = usage.InputTokens + usage.OutputTokens,
        AdditionalCounts = new() { ["evicted_tokens"] = usage.EvictedTokens },
    };

    /// <summary>The caller is gone: whether the server hears it or not, there is nobody to tell.</summary>
    async ValueTask CancelAsync(AcceptedTurn turn)
    {
        try
        {
            await client.CancelTurnAsync(turn.Conversation, turn.Turn, CancellationToken.None).ConfigureAwait(false);
        }
        catch (LongCtxException)
        {
            // The turn ends by itself.
        }
    }
}
