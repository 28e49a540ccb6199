namespace LongCtx.Api;

internal sealed record ErrorEnvelope(ErrorBody Error);

/// <summary>OpenAI's error object.</summary>
internal sealed record ErrorBody(string Message, string Type, string? Param, string Code);
