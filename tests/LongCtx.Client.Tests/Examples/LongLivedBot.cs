using System.Globalization;
using System.Threading.Channels;
using Microsoft.Extensions.Hosting;

namespace LongCtx.Client.Tests.Examples;

/// <summary>A message for the bot; its id is whatever the place it comes from calls it.</summary>
public sealed record Incoming(string Id, string Text);

/// <summary>
/// One conversation for years. Messages come from a chat, a queue or a mailbox, and replies go back there; the bot, its connections and the server may
/// fail and come back at any time. Nothing is answered twice, because a message's id is its turn's id; nothing is left out, because
/// the place in the journal is kept until a reply has been delivered.
/// </summary>
public sealed class LongLivedBot(LongCtxClient client, ChannelReader<Incoming> inbox, Func<string, string, Task> deliver, string stateFile) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // The same key finds the same conversation after every restart.
        ConversationInfo conversation = await client.CreateConversationAsync(new(null) { IdempotencyKey = "the bot" }, stoppingToken);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken);
        await Task.WhenAll(WholeAsync(ListenAsync(conversation.Id, either.Token), either), WholeAsync(ReplyAsync(conversation.Id, either.Token), either));
    }

    /// <summary>Half a bot would be silent for ever: when one part fails, the other stops too, and the host, which whatever supervises it starts again.</summary>
    static async Task WholeAsync(Task part, CancellationTokenSource either)
    {
        try
        {
            await part;
        }
        catch
        {
            await either.CancelAsync();
            throw;
        }
    }

    async Task ListenAsync(string conversation, CancellationToken stoppingToken)
    {
        await foreach (Incoming message in inbox.ReadAllAsync(stoppingToken))
        {
            SubmitTurn turn = LongCtxClient.NewTurn(message.Text, message.Id) with { Wait = true };
            await client.SubmitTurnAsync(conversation, turn with { Options = turn.Options with { MaxTokens = 40 } }, stoppingToken);
        }
    }

    async Task ReplyAsync(string conversation, CancellationToken stoppingToken)
    {
        long seen = File.Exists(stateFile) ? long.Parse(await File.ReadAllTextAsync(stateFile, stoppingToken), CultureInfo.InvariantCulture) : 0;
        (string Message, string Text) reply = ("", "");
        await foreach (ConversationEvent e in client.SubscribeAsync(conversation, seen, stoppingToken))
        {
            reply = e switch
            {
                TurnAccepted turn => (turn.TurnId, ""),
                Delta delta => (reply.Message, reply.Text + delta.Text),
                Completed completed => (reply.Message, reply.Text + completed.Text),
                _ => reply,
            };
            if (e is not Completed) continue;
            await deliver(reply.Message, reply.Text);
            Keep(e.Seq);
        }
    }

    /// <summary>Stopping does not cut it short, and a crash leaves the old place or the new one, never half a file.</summary>
    void Keep(long seq)
    {
        File.WriteAllText(stateFile + ".new", seq.ToString(CultureInfo.InvariantCulture));
        File.Move(stateFile + ".new", stateFile, overwrite: true);
    }
}
