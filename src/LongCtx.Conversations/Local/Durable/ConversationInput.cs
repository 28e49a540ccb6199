using LongCtx.Conversations.Machine;

namespace LongCtx.Conversations.Local;

/// <summary>
/// New messages as tokens that continue a conversation's log. What a template puts between messages depends on the message before and on
/// nothing further back, so that message is stood in for: an endless conversation is never rendered as a whole.
/// </summary>
internal static class ConversationInput
{
    const string Standing = "zqbeforeqz";

    /// <param name="decoder">The conversation's model.</param>
    /// <param name="state">Where the log ends.</param>
    /// <param name="messages">The new messages; none only where an unanswered message awaits its reply.</param>
    /// <param name="opensReply">Whether a reply follows.</param>
    /// <exception cref="LongCtxException">The template refuses the messages, or they make no tokens.</exception>
    public static PreparedInput Prepare(LocalDecoder decoder, ConversationState state, IReadOnlyList<ChatMessage> messages, bool opensReply)
    {
        if (messages.Count == 0 && (!opensReply || state.Ending is "" or ConversationState.Reply))
            throw Refuse("there is nothing to answer: give at least one message");
        return decoder.HasTemplate ? Chat(decoder, state, messages, opensReply) : Raw(decoder, state, messages);
    }

    /// <summary>A base model has no turns: messages are text, one behind the other.</summary>
    static PreparedInput Raw(LocalDecoder decoder, ConversationState state, IReadOnlyList<ChatMessage> messages)
    {
        string text = state.Beyond + string.Concat(messages.Select(m => m.Content));
        int[] ids = state.Tokens == 0 ? decoder.Raw(text) : decoder.Model.Tokenizer.Encode(text);
        if (ids.Length == 0) throw Refuse("the text is empty: give at least one character");
        return new(ids, [], decoder.PolicyFor(0).ToString());
    }

    static PreparedInput Chat(LocalDecoder decoder, ConversationState state, IReadOnlyList<ChatMessage> messages, bool opensReply)
    {
        ChatMessage[] before = state.Ending switch
        {
            "" => [],
            ConversationState.Reply or "assistant" => [new("user", Standing), new("assistant", Standing)],
            _ => [new(state.Ending, Standing)],
        };
        ChatPrompt prompt = decoder.Chat([.. before, .. messages], opensReply);
        PromptTail? tail = state.Ending == ConversationState.Reply ? prompt.AfterReply(before.Length, state.Beyond) : prompt.From(before.Length);
        if (tail is null)
            throw Refuse($"the chat template of {decoder.Model.Name} does not let a conversation be continued: {decoder.Model.TemplateStability?.Problem ?? "it changes what came before"}");
        if (tail.Ids.Length == 0) throw Refuse("the messages are empty: give at least one character");
        return new(tail.Ids, tail.TurnStarts, state.Tokens == 0 ? decoder.PolicyFor(prompt.SystemTokens).ToString() : null);
    }

    static LongCtxException Refuse(string problem) => new(ErrorCode.InvalidRequest, problem, "input");
}
