namespace LongCtx.Api.Chat;

/// <summary>A chat completion as asked for: what the host runs, and how the reply is sent.</summary>
/// <param name="IncludeUsage">A last chunk with the usage, as OpenAI has it.</param>
/// <param name="IncludeLongCtx">Every chunk carries the state of the window (`stream_options.include_longctx`).</param>
internal sealed record ChatCall(CompletionRequest Request, bool Stream, bool IncludeUsage, bool IncludeLongCtx);
