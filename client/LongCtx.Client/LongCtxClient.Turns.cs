using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text;
using LongCtx.Client.Wire;

namespace LongCtx.Client;

/// <summary>A turn that the server has stored and will answer, whatever happens to this client.</summary>
/// <param name="Turn">Its index in the conversation.</param>
/// <param name="Seq">Of its first event.</param>
public sealed record AcceptedTurn(string Conversation, int Turn, long Seq)
{
    /// <summary>Its id in OpenAI's API.</summary>
    public string ResponseId => ConversationIds.Response(Conversation, Turn);
}

public sealed partial class LongCtxClient
{
    /// <summary>A turn with one user message and a new id. Its seed is made from the id, so that the same turn draws the same tokens.</summary>
    public static SubmitTurn NewTurn(string text, string? turnId = null)
    {
        turnId ??= NewKey();
        return new(turnId, [new("user", text)]) { Options = new() { Sampling = new() { Seed = SeedOf(turnId) } } };
    }

    /// <summary>Sends a turn; when this returns, it is stored. The same turn id gives the same turn, however often it is sent.</summary>
    public Task<AcceptedTurn> SubmitTurnAsync(string conversation, SubmitTurn turn, CancellationToken cancellation = default) =>
        SubmitTurnAsync(conversation, turn, null, null, cancellation);

    internal async Task<AcceptedTurn> SubmitTurnAsync(string conversation, SubmitTurn turn, string? model, string? instructions, CancellationToken cancellation)
    {
        if (turn.ExpectedSeq is not null) throw new LongCtxException(ErrorCode.UnsupportedParameter, "an expected sequence number cannot be sent over HTTP: leave it out", "expected_seq");
        TurnBody body = TurnBody.From(conversation, turn, model, instructions);
        ResponseAnswer answer = await transport.PostAsync("v1/responses", body, ClientJson.Default.TurnBody, ClientJson.Default.ResponseAnswer, turn.TurnId, cancellation)
            .ConfigureAwait(false);
        return new(conversation, answer.LongCtx.Turn, answer.LongCtx.Seq);
    }

    /// <summary>
    /// Sends a turn and reads its events up to its end: <see cref="Completed"/>, <see cref="Cancelled"/> or <see cref="Failed"/>. Leaving does
    /// not stop the turn.
    /// </summary>
    public async IAsyncEnumerable<ConversationEvent> AskAsync(string conversation, SubmitTurn turn, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        AcceptedTurn accepted = await SubmitTurnAsync(conversation, turn, cancellation).ConfigureAwait(false);
        await foreach (ConversationEvent e in ReadTurnAsync(accepted, accepted.Seq - 1, cancellation).ConfigureAwait(false)) yield return e;
    }

    /// <summary>Events of one turn behind <paramref name="after"/>, up to its end; those that tell of a gap or a rewinding are among them.</summary>
    /// <exception cref="LongCtxException"><see cref="ErrorCode.NotFound"/>: the turn was lost by a rewinding; send it again under its id.</exception>
    public async IAsyncEnumerable<ConversationEvent> ReadTurnAsync(AcceptedTurn turn, long after, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        await foreach (ConversationEvent e in SubscribeAsync(turn.Conversation, after, cancellation).ConfigureAwait(false))
        {
            if (e.Turn != turn.Turn && e is not (Rewound or Gap)) continue;
            yield return e;
            if (e is Completed or Cancelled or Failed) yield break;
            if (e is Rewound rewound && rewound.Head < turn.Seq)
                throw new LongCtxException(ErrorCode.NotFound, $"turn {turn.Turn} of {turn.Conversation} is lost: the server's store ends at event {rewound.Head}. Send the turn again.");
        }
    }

    /// <summary>Stops a turn within one decode step; what was generated stays. A turn that had ended stays as it is.</summary>
    public async Task CancelTurnAsync(string conversation, int turn, CancellationToken cancellation = default) =>
        await transport.PostAsync($"v1/responses/{Uri.EscapeDataString(ConversationIds.Response(conversation, turn))}/cancel", new(null), ClientJson.Default.ForkBody,
            ClientJson.Default.ResponseAnswer, null, cancellation).ConfigureAwait(false);

    /// <summary>How a turn stands.</summary>
    public async Task<TurnStatus> GetTurnStatusAsync(string conversation, int turn, CancellationToken cancellation = default)
    {
        string path = $"v1/responses/{Uri.EscapeDataString(ConversationIds.Response(conversation, turn))}";
        ResponseAnswer answer = await transport.GetAsync(path, ClientJson.Default.ResponseAnswer, cancellation).ConfigureAwait(false);
        return answer.Status switch
        {
            "in_progress" => TurnStatus.InProgress,
            "cancelled" => TurnStatus.Cancelled,
            "failed" => TurnStatus.Failed,
            _ => TurnStatus.Completed,
        };
    }

    /// <summary>Adds messages without asking for a reply; when this returns, they are stored.</summary>
    /// <param name="conversation">Where to.</param>
    /// <param name="input">Without a producer it is one piece of a producer made for this call, so that a repetition adds nothing twice.</param>
    /// <param name="cancellation">Ends the attempts.</param>
    public async Task<InputAck> AppendInputAsync(string conversation, AppendInput input, CancellationToken cancellation = default)
    {
        AppendBody body = new(Bodies(input.Messages), input.Producer ?? NewKey(), input.Producer is null ? 1 : input.Number, input.Wait);
        AppendDetails ack = (await transport.PostAsync(PathOf(conversation, "/items"), body, ClientJson.Default.AppendBody, ClientJson.Default.AppendAnswer, null, cancellation)
            .ConfigureAwait(false)).LongCtx;
        return new(ack.Seq, ack.Turn, ack.New);
    }

    /// <summary>
    /// Adds a text of any length, piece by piece, without asking for a reply; yields once for each piece that is stored. Where the text is cut depends on it
    /// alone: feeding it again under the same producer goes on behind the last piece that was stored.
    /// </summary>
    /// <param name="conversation">Where to.</param>
    /// <param name="text">UTF-8.</param>
    /// <param name="producer">Who feeds, for deduplication.</param>
    /// <param name="role">Of the messages.</param>
    /// <param name="cancellation">Ends the feeding between two pieces.</param>
    public async IAsyncEnumerable<FedPiece> FeedAsync(
        string conversation, Stream text, string producer, string role = "user", [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        long number = 0;
        await foreach ((string piece, long end) in TextPieces.ReadAsync(text, cancellation).ConfigureAwait(false))
        {
            AppendInput input = new([new(role, piece)]) { Producer = producer, Number = ++number, Wait = true };
            InputAck ack = await AppendInputAsync(conversation, input, cancellation).ConfigureAwait(false);
            yield return new(number, ack.Seq, ack.IsNew, end);
        }
    }

    internal static ulong SeedOf(string turnId) => BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes(turnId))) >> 11; // below 2^53, for JavaScript
}

/// <summary>A piece of a text that is stored.</summary>
/// <param name="Number">1, 2, 3, ...</param>
/// <param name="Seq">Of the event that holds it; of a later one when it had been stored before.</param>
/// <param name="IsNew">False when it had been stored before.</param>
/// <param name="Bytes">Of the text up to its end.</param>
public sealed record FedPiece(long Number, long Seq, bool IsNew, long Bytes);
