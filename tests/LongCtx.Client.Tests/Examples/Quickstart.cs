namespace LongCtx.Client.Tests.Examples;

/// <summary>A conversation from its creation to a reply that is read while it is written.</summary>
public static class Quickstart
{
    public static async Task<string> RunAsync(LongCtxClient client, TextWriter output, CancellationToken cancellation)
    {
        ConversationInfo conversation = await client.CreateConversationAsync(cancellation: cancellation);
        await foreach (ConversationEvent e in client.AskAsync(conversation.Id, LongCtxClient.NewTurn("Tell me about Ghent."), cancellation))
        {
            if (e is Delta delta) await output.WriteAsync(delta.Text);
            if (e is Completed completed)
                await output.WriteLineAsync($"{completed.Text}\n({completed.Usage.OutputTokens} tokens; {completed.Usage.Window.Evicted} have left the window)");
        }
        return conversation.Id; // keep it: the conversation goes on whenever somebody comes back to it
    }
}
