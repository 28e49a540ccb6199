using System.CommandLine;
using LongCtx.Cli.Bench;
using LongCtx.Cli.Options;
using LongCtx.Client;

namespace LongCtx.Cli.Commands;

/// <summary>`longctx bench cluster`: a load on a running server or cluster, which checks that nothing is lost.</summary>
internal static class BenchClusterCommand
{
    public static Command Create(Terminal terminal)
    {
        Option<int> conversations = Value.Int("--conversations", "Conversations at the same time.", 1, 10_000, 8);
        Option<int> subscribers = Value.Int("--subscribers", "Event streams for each of them, besides the one that asks.", 0, 1000, 1);
        Option<int> turns = Value.Int("--turns", "Turns of each conversation.", 1, 100_000, 10);
        Option<int> tokens = Value.Int("--tokens", "Most tokens of a reply.", 1, 100_000, 64);
        Option<bool> json = Common.Json();
        var server = new ServerChoice();
        var command = new Command("cluster",
            "Drives conversations with subscribers on a running server or cluster (--server) and checks that every acknowledged turn ends once and every stream is gapless, also while silos die.")
        {
            conversations, subscribers, turns, tokens, json,
        };
        server.AddTo(command);
        command.SetAction(async (result, cancellation) =>
        {
            LongCtxClient client = server.PatientClient(result);
            var load = new ClusterLoad(client, result.GetValue(subscribers), result.GetValue(tokens));
            ClusterReport report = await load.RunAsync(result.GetValue(conversations), result.GetValue(turns), cancellation);
            if (result.GetValue(json)) terminal.WriteJson(report);
            else
            {
                terminal.Print($"{report.Turns} turns, {report.Events} events at subscribers, nothing missing: {report.TurnsPerSecond:F1} turns/s, {report.TokensPerSecond:F0} tokens/s, first token {report.FirstTokenMs:F0} ms");
                if (report.Recoveries.Count == 0) terminal.Print($"no pause of more than a second");
                else terminal.Print($"{report.Recoveries.Count} pauses of more than a second: median {report.Recoveries.P50Seconds:F1} s, longest {report.Recoveries.MaxSeconds:F1} s");
            }

            return App.Success;
        });
        return command;
    }
}
