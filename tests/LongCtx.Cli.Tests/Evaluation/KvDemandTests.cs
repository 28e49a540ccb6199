using LongCtx.Cli.Evaluation;
using LongCtx.Engine.Cache;

namespace LongCtx.Cli.Tests.Evaluation;

public sealed class KvDemandTests
{
    [Theory]
    [InlineData("0,1,1,0,1", 3000, 256)]
    [InlineData("4,1,1,512,1", 3000, 256)]
    [InlineData("4,128,4,0,4", 3000, 7)]
    [InlineData("70,128,4,1024,16", 3000, 256)]
    [InlineData("8,96,8,2048,32", 5000, 1)]
    [InlineData("8,1024,4,4096,64", 9000, 256)]
    public void Blocks_FedInChunks_AlwaysSuffice(string rule, int tokens, int chunk)
    {
        AttentionPolicy policy = PolicyOptions.ParseRule(rule);
        int blocks = KvDemand.Blocks(policy, tokens, chunk);
        var pool = new BlockPool(blocks);
        using var sequence = new KvSequence(pool, policy);
        for (int done = 0; done < tokens; done += chunk)
        {
            int count = Math.Min(chunk, tokens - done);
            Assert.True(sequence.TryReserve(count, []), $"{rule}: {blocks} blocks did not suffice at token {done}");
            sequence.Commit(count);
        }
    }
}
