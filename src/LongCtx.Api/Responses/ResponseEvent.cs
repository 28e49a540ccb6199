using LongCtx.Api.Items;

namespace LongCtx.Api.Responses;

/// <summary>An event of a response's stream, in OpenAI's shape.</summary>
/// <param name="SequenceNumber">0, 1, 2, ... within the response; the same whenever it is read.</param>
internal abstract record ResponseEvent(string Type, int SequenceNumber);

/// <summary>response.created, in_progress, completed, incomplete or failed.</summary>
internal sealed record ResponseStateEvent(string Type, int SequenceNumber, ResponseBody Response) : ResponseEvent(Type, SequenceNumber);

/// <summary>response.output_item.added or done.</summary>
internal sealed record OutputItemEvent(string Type, int SequenceNumber, int OutputIndex, MessageItem Item) : ResponseEvent(Type, SequenceNumber);

/// <summary>response.content_part.added or done.</summary>
internal sealed record ContentPartEvent(string Type, int SequenceNumber, string ItemId, int OutputIndex, int ContentIndex, ContentPart Part)
    : ResponseEvent(Type, SequenceNumber);

/// <summary>response.output_text.delta</summary>
internal sealed record TextDeltaEvent(string Type, int SequenceNumber, string ItemId, int OutputIndex, int ContentIndex, string Delta, string[] Logprobs)
    : ResponseEvent(Type, SequenceNumber);

/// <summary>response.output_text.done</summary>
internal sealed record TextDoneEvent(string Type, int SequenceNumber, string ItemId, int OutputIndex, int ContentIndex, string Text, string[] Logprobs)
    : ResponseEvent(Type, SequenceNumber);

/// <summary>The stream, not the response, has ended. It is none of the response's events: its number is that of the last one that was sent.</summary>
internal sealed record ErrorEvent(string Type, int SequenceNumber, string Code, string Message, string? Param) : ResponseEvent(Type, SequenceNumber);
