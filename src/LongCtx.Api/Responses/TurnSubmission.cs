using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using LongCtx.Api.Conversations;
using LongCtx.Api.Items;

namespace LongCtx.Api.Responses;

/// <summary>An accepted response and the conversation that it belongs to.</summary>
internal sealed record SubmittedResponse(ConversationInfo Conversation, TurnTicket Ticket);

/// <summary>
/// Turns a request for a response into a turn of a conversation: finds, forks or creates the conversation and puts the instructions into the
/// log. With an idempotency key the same request finds the turn that it made before, whatever has happened since.
/// </summary>
internal sealed class TurnSubmission(IConversationHost host, TurnReader turns, Quotas quotas)
{
    const int AttemptsMax = 3;

    /// <summary>Where a turn goes.</summary>
    /// <param name="ExpectedSeq">The conversation has to stand there still; null: anywhere.</param>
    /// <param name="IsOwn">The conversation is made for this response.</param>
    sealed record Place(ConversationInfo Conversation, long? ExpectedSeq, bool IsOwn);

    /// <summary>Seed of a request that has a key and names no seed: the same whenever it is sent.</summary>
    public static ulong SeedOf(string key) => BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes(key))) >> 11;

    public async ValueTask<SubmittedResponse> SubmitAsync(string tenant, ResponseCall call, string? key, CancellationToken cancellation)
    {
        for (int attempt = 1; ; attempt++)
        {
            Place place = await PlaceAsync(tenant, call, key, cancellation);
            if (call.Model is { } model && model != place.Conversation.Model)
                throw ApiException.Value("model", $"the conversation's, which is '{place.Conversation.Model}'", $"'{model}'");
            try
            {
                return await SubmitAsync(tenant, place, call, key, cancellation);
            }
            catch (LongCtxException e) when (e.Code == ErrorCode.Conflict && place.ExpectedSeq is not null && attempt < AttemptsMax)
            {
                // The conversation went on after it was looked at: the previous response may not be its newest any more.
            }
        }
    }

    async ValueTask<SubmittedResponse> SubmitAsync(string tenant, Place place, ResponseCall call, string? key, CancellationToken cancellation)
    {
        string id = place.Conversation.Id;
        TurnInfo? known = key is null ? null : await host.FindTurnAsync(tenant, id, key, cancellation);
        string? before = await InstructionsBeforeAsync(tenant, id, known?.Turn ?? 0, cancellation);
        bool isNewInstruction = call.Instructions is not null && call.Instructions != before;
        SubmitTurn turn = new(key ?? Guid.CreateVersion7().ToString(), isNewInstruction ? [new("system", call.Instructions!), .. call.Input] : call.Input)
        {
            Options = call.Options with { Response = new(call.Instructions ?? before, call.PreviousResponseId, call.Background, place.IsOwn) },
            Wait = call.Wait,
            ExpectedSeq = place.ExpectedSeq,
        };
        using (await quotas.TurnAsync(tenant, place.Conversation, known is not null, cancellation))
            return new(place.Conversation, await host.SubmitTurnAsync(tenant, id, turn, cancellation));
    }

    ValueTask<Place> PlaceAsync(string tenant, ResponseCall call, string? key, CancellationToken cancellation) => call switch
    {
        { Conversation: { } id } => InAsync(tenant, id, cancellation),
        { PreviousResponseId: { } previous } => BehindAsync(tenant, previous, key, cancellation),
        _ => NewAsync(tenant, call.Model, key, cancellation),
    };

    async ValueTask<Place> InAsync(string tenant, string id, CancellationToken cancellation) =>
        new(await host.GetConversationAsync(tenant, ConversationId.Check(id), cancellation), null, false);

    async ValueTask<Place> NewAsync(string tenant, string? model, string? key, CancellationToken cancellation)
    {
        using (await quotas.ConversationAsync(tenant, model, key, cancellation))
            return new(await host.CreateConversationAsync(tenant, new(model) { IdempotencyKey = key }, cancellation), null, true);
    }

    /// <summary>In the conversation of the previous response if that is its newest turn, otherwise in a fork that ends with it.</summary>
    async ValueTask<Place> BehindAsync(string tenant, string previous, string? key, CancellationToken cancellation)
    {
        if (!ConversationIds.TryParseResponse(previous, out string id, out int turn)) throw ResponseId.Unknown(previous);
        ConversationInfo conversation = await host.GetConversationAsync(tenant, id, cancellation);
        TurnInfo found = await turns.FindAsync(tenant, id, turn, $"response '{previous}'", cancellation);
        if (found.Status == TurnStatus.Input) throw ResponseId.Unknown(previous);
        if (key is not null && await host.FindTurnAsync(tenant, id, key, cancellation) is not null) return new(conversation, null, false);
        if (found.Turn == conversation.Turns) return new(conversation, conversation.LiveTurn == 0 ? conversation.Seq : null, false);
        using (await quotas.ConversationAsync(tenant, cancellation))
            return new(await host.ForkAsync(tenant, id, found.EndSeq, key, cancellation), null, true);
    }

    /// <summary>What the newest response below a turn (0: the newest of all) was instructed; null also where that is no longer retained.</summary>
    async ValueTask<string?> InstructionsBeforeAsync(string tenant, string id, int turn, CancellationToken cancellation)
    {
        if (await turns.NewestReplyAsync(tenant, id, turn, cancellation) is not { } newest) return null;
        try
        {
            return (await turns.FirstEventAsync(tenant, id, newest, cancellation) as TurnAccepted)?.Options.Response?.Instructions;
        }
        catch (ApiException e) when (e.Code == TurnReader.GapCode)
        {
            return null;
        }
    }
}
