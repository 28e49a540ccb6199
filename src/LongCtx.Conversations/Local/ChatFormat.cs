namespace LongCtx.Conversations.Local;

/// <summary>What a chat prompt needs of a model: its template and its tokenizer.</summary>
/// <param name="Render">Messages to text, with or without the opening of the reply. Throws <see cref="LongCtxException"/> where the template refuses.</param>
/// <param name="Encode">Text to tokens; special tokens are recognised, none is added.</param>
/// <param name="BosText">Text of the token that begins a stream; empty where there is none.</param>
/// <param name="IsStable">Whether a prompt with its reply begins with that prompt. Otherwise every prompt is tokenised as a whole and compared
/// token by token.</param>
internal sealed record ChatFormat(
    Func<IReadOnlyList<ChatMessage>, bool, string> Render, Func<string, EncodedText> Encode, string BosText, bool IsStable)
{
    /// <summary>Null where the template refuses: some want a chat to stop, or to begin, with a certain role.</summary>
    public string? TryRender(IEnumerable<ChatMessage> messages, bool opensReply)
    {
        try
        {
            return Render([.. messages], opensReply);
        }
        catch (LongCtxException e) when (e.Code == ErrorCode.InvalidRequest)
        {
            return null;
        }
    }
}
