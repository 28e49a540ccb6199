using System.Text;
using LongCtx.Api.Chat;
using LongCtx.Api.Items;

namespace LongCtx.Api.Responses;

/// <summary>What a response has besides its journal.</summary>
/// <param name="Conversation">Null for one that is not stored.</param>
internal sealed record ResponseHead(string Id, string Model, string? Conversation)
{
    public static ResponseHead Of(ConversationInfo conversation, int turn) =>
        new(ConversationIds.Response(conversation.Id, turn), conversation.Model, conversation.Id);
}

/// <summary>
/// Makes a response and its stream out of the events of one turn, from the first on. Each journal event expands to a list of OpenAI's events
/// that depends on the events before it and on nothing else; hence the sequence numbers are the same whenever, and however often, they are read.
/// <code>
/// turn_accepted -> response.created, response.in_progress, response.output_item.added, response.content_part.added
/// delta         -> response.output_text.delta (none while its text is empty)
/// completed, cancelled, failed
///               -> response.output_text.delta (none without text), response.output_text.done, response.content_part.done,
///                  response.output_item.done, response.completed | incomplete | failed
/// others        -> nothing
/// </code>
/// A cancelled turn ends with response.incomplete, whose response has the status cancelled: OpenAI's streams have no event of that name.
/// </summary>
internal sealed class ResponseBuilder(ResponseHead head)
{
    readonly StringBuilder text = new();
    TurnAccepted? accepted;
    ConversationEvent? last;
    int next;

    /// <summary>The turn has ended: no more events follow.</summary>
    public bool IsOver => last is not null;

    /// <summary>Sequence number of the newest event; -1 before the first.</summary>
    public int Newest => next - 1;

    public IReadOnlyList<ResponseEvent> Expand(ConversationEvent e)
    {
        switch (e)
        {
            case TurnAccepted turn:
                accepted = turn;
                return
                [
                    new ResponseStateEvent("response.created", next++, Response()),
                    new ResponseStateEvent("response.in_progress", next++, Response()),
                    new OutputItemEvent("response.output_item.added", next++, 0, Item() with { Content = [] }),
                    new ContentPartEvent("response.content_part.added", next++, ItemId, 0, 0, ContentPart.Output("")),
                ];
            case Delta delta:
                return [.. Text(delta.Text)];
            case Completed or Cancelled or Failed:
                List<ResponseEvent> end = [.. Text(TurnContent.TextOf(e))];
                last = e;
                end.Add(new TextDoneEvent("response.output_text.done", next++, ItemId, 0, 0, text.ToString(), []));
                end.Add(new ContentPartEvent("response.content_part.done", next++, ItemId, 0, 0, ContentPart.Output(text.ToString())));
                end.Add(new OutputItemEvent("response.output_item.done", next++, 0, Item()));
                end.Add(new ResponseStateEvent(EndType(e), next++, Response()));
                return end;
            default:
                return [];
        }
    }

    /// <summary>The response as it stands.</summary>
    public ResponseBody Response()
    {
        TurnAccepted turn = accepted ?? throw new InvalidOperationException("A response begins with the acceptance of its turn.");
        TurnUsage? usage = (last as Completed)?.Usage ?? (last as Cancelled)?.Usage;
        SamplingOptions sampling = turn.Options.Sampling;
        ResponseOrigin? origin = turn.Options.Response;
        return new(
            head.Id, "response", turn.At / 1000, Status(last), origin?.IsBackground ?? false, head.Conversation is null ? null : new(head.Conversation),
            last is Failed failed ? new(failed.Code, failed.Message) : null,
            last is Completed { Reason: FinishReason.Length } ? new("max_output_tokens") : null,
            origin?.Instructions, turn.Options.MaxTokens, turn.Options.Metadata ?? new Dictionary<string, string>(), head.Model,
            next < 4 ? [] : [Item()], true, origin?.PreviousResponseId, head.Conversation is not null, sampling.Temperature, new(new("text")),
            "auto", [], sampling.TopP, "disabled", usage is null ? null : ResponseUsage.From(usage), Details(turn, usage));
    }

    ResponseDetails Details(TurnAccepted turn, TurnUsage? usage) => new()
    {
        Turn = head.Conversation is null ? null : turn.Turn,
        Seq = head.Conversation is null ? null : turn.Seq,
        Seed = turn.Options.Sampling.Seed,
        EvictedTokens = usage?.EvictedTokens,
        Window = usage is null ? null : WindowBody.From(usage.Window),
        PrefillSeconds = usage?.PrefillSeconds,
        DecodeSeconds = usage?.DecodeSeconds,
        Restored = usage?.Restored,
    };

    string ItemId => head.Conversation is null
        ? "msg_" + head.Id["resp_".Length..]
        : ConversationIds.Message(head.Conversation, accepted!.Turn, accepted.Messages.Count + 1);

    MessageItem Item() => MessageItem.Create(ItemId, "assistant", text.ToString(), TurnContent.StatusAfter(last));

    IEnumerable<ResponseEvent> Text(string piece)
    {
        if (piece.Length == 0) yield break;
        text.Append(piece);
        yield return new TextDeltaEvent("response.output_text.delta", next++, ItemId, 0, 0, piece, []);
    }

    static string Status(ConversationEvent? last) => last switch
    {
        null => "in_progress",
        Failed => "failed",
        Cancelled => "cancelled",
        Completed { Reason: FinishReason.Stop } => "completed",
        _ => "incomplete",
    };

    static string EndType(ConversationEvent last) => last switch
    {
        Failed => "response.failed",
        Completed { Reason: FinishReason.Stop } => "response.completed",
        _ => "response.incomplete",
    };
}
