using System.Text.Json;
using LongCtx.Engine.Adapters;
using LongCtx.Engine.Models;

namespace LongCtx.Cli.Tests.Commands;

public sealed class GenerateCommandTests
{
    /// <summary>
    /// The goldens are float32; the engine multiplies with activations rounded to 8 bits where weights are quantised, and keeps keys and
    /// values in f16. Where the two best logits are nearer than this, another token is no mistake.
    /// </summary>
    const double Margin = 0.1;

    [Fact]
    public async Task Generate_RawGoldenPrompts_AreContinuedAsInTheGolden()
    {
        int compared = 0;
        foreach (JsonElement prompt in Cli.Golden("pg19-7m/prompts.json").EnumerateArray())
        {
            JsonElement result = await Cli.JsonAsync("generate", "--model", "pg19-7m", "--raw", "--prompt", prompt.GetProperty("prompt").GetString()!,
                "--max-tokens", "40", "--temperature", "0", "--seed", "1", "--ignore-eos", "--policy", "full");
            Assert.Equal(["prompt_ids", "ids", "text"], result.Names());
            Assert.Equal(prompt.GetProperty("ids").Ints(), result.GetProperty("prompt_ids").Ints());
            int[] ids = result.GetProperty("ids").Ints();
            Assert.Equal(40, ids.Length);
            foreach ((JsonElement step, int id) in prompt.GetProperty("greedy").EnumerateArray().Zip(ids))
            {
                if (step[1].GetDouble() < Margin) break;
                Assert.Equal(step[0].GetInt32(), id);
                compared++;
            }
        }

        Assert.True(compared >= 5, $"only {compared} steps were compared");
    }

    [Fact]
    public async Task Generate_WithAnAdapter_IsAnotherReplyAndAForeignOneIsRefused()
    {
        DirectoryInfo directory = Directory.CreateTempSubdirectory("longctx-adapter-");
        try
        {
            using ModelSource source = ModelSource.Open(ModelCatalog.Default().Resolve("pg19-7m"));
            var weights = new LoraWeights(new(source.Decoder!, 4, 8, LoraTargets.All));
            var random = new Random(3);
            for (int layer = 0; layer < source.Decoder!.LayerCount; layer++)
                foreach (LoraTargets target in weights.Layout.PresentTargets)
                {
                    foreach (ref float x in weights.A(layer, target)) x = random.NextSingle() - 0.5f;
                    foreach (ref float x in weights.B(layer, target)) x = random.NextSingle() - 0.5f;
                }

            PeftDirectory.Write(weights, directory.FullName, "pg19-7m");
            string[] plain = ["generate", "--model", "pg19-7m", "--raw", "--prompt", "The sea", "--max-tokens", "20"], adapted = [.. plain, "--adapter", directory.FullName];
            int[] expected = (await Cli.JsonAsync(plain)).GetProperty("ids").Ints();
            Assert.NotEqual(expected, (await Cli.JsonAsync(adapted)).GetProperty("ids").Ints());

            (int code, string _, string errors) = await Cli.RunAsync("", "generate", "--prompt", "Hi", "--adapter", directory.FullName);
            Assert.NotEqual(0, code);
            Assert.Contains("the adapter cannot be used", errors, StringComparison.Ordinal);
            Assert.Contains("made for another model or rank", errors, StringComparison.Ordinal);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task Generate_WithoutRaw_RendersTheModelsTemplate()
    {
        JsonElement prompt = Cli.Golden("smollm2/prompts.json")[0];
        JsonElement result = await Cli.JsonAsync("generate", "--prompt", prompt.GetProperty("prompt").GetString()!, "--max-tokens", "2", "--temperature", "0");
        Assert.Equal(prompt.GetProperty("ids").Ints(), result.GetProperty("prompt_ids").Ints());
        JsonElement first = prompt.GetProperty("greedy")[0];
        Assert.True(first[1].GetDouble() > Margin);
        Assert.Equal(first[0].GetInt32(), result.GetProperty("ids")[0].GetInt32());
    }

    [Fact]
    public async Task Generate_Sampled_DependsOnTheSeedAlone()
    {
        string[] arguments = ["generate", "--model", "pg19-7m", "--raw", "--prompt", "The old man", "--max-tokens", "12", "--temperature", "1"];
        string first = (await Cli.JsonAsync([.. arguments, "--seed", "7"])).GetRawText();
        Assert.Equal(first, (await Cli.JsonAsync([.. arguments, "--seed", "7", "--threads", "1"])).GetRawText());
        Assert.NotEqual(first, (await Cli.JsonAsync([.. arguments, "--seed", "8"])).GetRawText());
    }

    [Fact]
    public async Task Generate_WithoutJson_StreamsTheSameText()
    {
        string[] arguments = ["generate", "--model", "pg19-7m", "--raw", "--prompt", "The old man", "--max-tokens", "12"];
        string text = (await Cli.JsonAsync(arguments)).GetProperty("text").GetString()!;
        Assert.Equal((0, text + Environment.NewLine, ""), await Cli.RunAsync("", arguments));
    }

    [Fact]
    public async Task Generate_PastTheWindow_SaysHowManyTokensLeft()
    {
        (int exit, _, string error) = await Cli.RunAsync("", "generate", "--model", "pg19-7m", "--raw", "--prompt", "The old man", "--max-tokens", "80",
            "--ignore-eos", "--rule", "4,1,1,32,8");
        Assert.Equal(0, exit);
        Assert.Matches(@"^longctx: \d+ tokens have left the window of 32", error);
    }

    [Fact]
    public async Task Generate_EmptyPrompt_IsRefused()
    {
        (int exit, _, string error) = await Cli.RunAsync("", "generate", "--model", "pg19-7m", "--raw", "--prompt", "");
        Assert.Equal(2, exit);
        Assert.Contains("the prompt is empty", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Generate_PromptBeyondTheBoundUnderFull_IsRefusedWithTheBound()
    {
        (int exit, string output, string error) = await Cli.RunAsync("", "generate", "--model", "pg19-7m", "--raw", "--prompt-file", Cli.Book, "--policy", "full");
        Assert.Equal((2, ""), (exit, output));
        Assert.Contains("512", error, StringComparison.Ordinal);
        Assert.Equal(1, error.Count(c => c == '\n'));
    }
}
