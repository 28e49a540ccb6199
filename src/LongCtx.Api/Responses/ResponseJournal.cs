using System.Runtime.CompilerServices;
using LongCtx.Api.Events;
using LongCtx.Api.Items;

namespace LongCtx.Api.Responses;

/// <summary>The journal of one stored response.</summary>
internal sealed class ResponseJournal(IConversationHost host, TurnReader turns)
{
    /// <summary>The response as it stands.</summary>
    public async ValueTask<ResponseBody> ReadAsync(string tenant, ConversationInfo conversation, TurnInfo turn, CancellationToken cancellation)
    {
        ResponseBuilder builder = new(ResponseHead.Of(conversation, turn.Turn));
        await foreach (ConversationEvent e in turns.EventsAsync(tenant, conversation.Id, turn, cancellation)) builder.Expand(e);
        return builder.Response();
    }

    /// <summary>The response when it is over.</summary>
    public async ValueTask<ResponseBody> WaitAsync(string tenant, ConversationInfo conversation, int turn, long acceptedSeq, CancellationToken cancellation)
    {
        ResponseBuilder builder = new(ResponseHead.Of(conversation, turn));
        await foreach (ConversationEvent e in FollowAsync(tenant, conversation.Id, turn, acceptedSeq, cancellation)) builder.Expand(e);
        return builder.Response();
    }

    /// <summary>The response's stream from its first event to its last.</summary>
    public async IAsyncEnumerable<ResponseEvent> StreamAsync(
        string tenant, ConversationInfo conversation, int turn, long acceptedSeq, [EnumeratorCancellation] CancellationToken cancellation)
    {
        ResponseBuilder builder = new(ResponseHead.Of(conversation, turn));
        await foreach (ConversationEvent e in FollowAsync(tenant, conversation.Id, turn, acceptedSeq, cancellation))
            foreach (ResponseEvent expanded in builder.Expand(e)) yield return expanded;
    }

    async IAsyncEnumerable<ConversationEvent> FollowAsync(
        string tenant, string conversation, int turn, long acceptedSeq, [EnumeratorCancellation] CancellationToken cancellation)
    {
        await foreach (EventPage page in host.FollowAsync(tenant, conversation, acceptedSeq - 1, long.MaxValue, cancellation))
        {
            if (page.Gap > 0) throw TurnReader.Gap(page.Gap);
            if (page.IsRewound) throw Rewound($"the store lost the newest events of {conversation}, which ends at sequence number {page.Head} now");
            foreach (ConversationEvent e in page.Events.Where(e => e.Turn == turn))
            {
                yield return e;
                if (TurnContent.IsEnd(e)) yield break;
            }
        }
    }

    /// <summary>What a reader has seen does not exist any more, or never did.</summary>
    public static ApiException Rewound(string reason) => new(409, "rewound", $"This response cannot be read on: {reason}. Read it from its beginning.", "starting_after");
}
